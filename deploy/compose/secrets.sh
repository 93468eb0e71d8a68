#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, in deploy/compose/secrets or the folder given. What exists is left
# as it is.
#
# The folder is for you alone. The files in it can be read by all, since Compose mounts them as they are, and the users
# within the containers are others than you: nobody on this machine can reach them without passing the folder.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

random() { # 256 bits
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

keep() { # name, content
    [ -s "$folder/$1" ] && return
    printf '%s\n' "$2" > "$folder/$1"
    chmod 644 "$folder/$1"
    echo "made $folder/$1"
}

keep signing_key "$(random)"
keep registry_token "$(random)"
keep grafana_password "$(random)"
keep postgres_password "$(random)"
keep registry_database "postgresql://rivermill:$(cat "$folder/postgres_password")@postgres:5432/rivermill"

# Empty until you need them: the signing key before, while it is changed, and the password of a Kafka of your own.
for name in signing_key_previous kafka_password; do
    [ -e "$folder/$name" ] || : > "$folder/$name"
    chmod 644 "$folder/$name"
done
