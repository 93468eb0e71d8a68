"""A broker that wants to know who calls: by password, over TLS and without it, or by client certificate.

It lets nobody do what no access control list allows, but for two superusers: ``USER``, and whoever comes in by the
listener without security, which only the tests themselves know of.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from schemas.acls import ROLES
from services.cli.broker import Broker
from services.cli.broker_directory import CLUSTER_ID
from services.cli.jars import jars
from services.cli.java import find_java
from services.cli.loopback import HOST

SERVICES = ("registry", "cleaning", "scoring", "learner", "drift")
EVENTS = 600
USER = "rivermill"
PASSWORD = "a-password-for-tests-0815"
BY_CERTIFICATE = ("cleaning", "learner", "consumers")
_PASSWORDS, _CLEAR, _CERTIFICATES = "PASSWORDS", "CLEAR", "CERTIFICATES"
_MECHANISM = "SCRAM-SHA-512"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


def name_of(role: str) -> str:
    """Whom a role of the topic table is to Kafka."""
    return f"of-{role}"


@dataclass(frozen=True)
class Secured:
    """The environments of clients that the listeners let in: without any security, by password over TLS or without
    it, by certificate. The first three are superusers, the fourth is cleaning.
    """

    folder: Path
    plain: dict[str, str]
    by_password: dict[str, str]
    in_the_clear: dict[str, str]
    by_certificate: dict[str, str]

    def env(self, role: str) -> dict[str, str]:
        """The environment of a role of the topic table: some have certificates, the others passwords over TLS."""
        if role in BY_CERTIFICATE:
            own = str(self.folder / f"{role}.pem")
            return self.by_certificate | {"RIVERMILL_SSL_CERTFILE": own, "RIVERMILL_SSL_KEYFILE": own}
        return self.by_password | {"RIVERMILL_SASL_USERNAME": name_of(role)}


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """Run a broker with SASL_SSL and SASL_PLAINTEXT listeners for SCRAM users, and an SSL one for certificates."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = key_store(folder / "server.pem", authority.issue_cert(HOST))
    for role in BY_CERTIFICATE:
        issued = authority.issue_cert("client.example.org", common_name=name_of(role))
        key_store(folder / f"{role}.pem", issued)
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n", encoding="utf-8")
    data = folder / "broker"
    _format_with_users(data)
    with Broker(
        data,
        extra_listeners={_PASSWORDS: "SASL_SSL", _CLEAR: "SASL_PLAINTEXT", _CERTIFICATES: "SSL"},
        extra_properties=_listener_properties(server, folder / "ca.pem"),
    ) as broker:
        trusting = {"RIVERMILL_SSL_CAFILE": str(folder / "ca.pem")}
        named = {"RIVERMILL_SASL_USERNAME": USER, "RIVERMILL_SASL_PASSWORD_FILE": str(password)}
        client = str(folder / "cleaning.pem")
        certified = {"RIVERMILL_SSL_CERTFILE": client, "RIVERMILL_SSL_KEYFILE": client}
        yield Secured(
            folder=folder,
            plain=_listener(broker, "PLAINTEXT", "PLAINTEXT"),
            by_password=_listener(broker, _PASSWORDS, "SASL_SSL") | trusting | named,
            in_the_clear=_listener(broker, _CLEAR, "SASL_PLAINTEXT") | named,
            by_certificate=_listener(broker, _CERTIFICATES, "SSL") | trusting | certified,
        )


def _listener(broker: Broker, name: str, protocol: str) -> dict[str, str]:
    return {"RIVERMILL_BROKER": broker.addresses[name], "RIVERMILL_SECURITY_PROTOCOL": protocol}


def key_store(path: Path, issued: trustme.LeafCert) -> Path:
    """Write a key (PKCS #8, which is all that Kafka reads) and its certificates into one PEM file."""
    key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    return path


def _listener_properties(server: Path, authority: Path) -> dict[str, str]:
    """What the listeners show of themselves and ask of others, and who may do what."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:ANONYMOUS;User:{USER}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
        f"listener.name.{_CERTIFICATES.lower()}.ssl.client.auth": "required",
        f"listener.name.{_CERTIFICATES.lower()}.ssl.principal.mapping.rules": "RULE:^CN=([^,]+),.*$/$1/",
    }
    for name in (_PASSWORDS, _CLEAR):
        properties[f"listener.name.{name.lower()}.sasl.enabled.mechanisms"] = _MECHANISM
        properties[f"listener.name.{name.lower()}.scram-sha-512.sasl.jaas.config"] = _SCRAM
    return properties


def _format_with_users(data: Path) -> None:
    """Format the broker's data directory with SCRAM users in it, which only Kafka's own tool can do."""
    data.mkdir()
    properties = data / "format.properties"
    properties.write_text(
        f"process.roles=broker,controller\nnode.id=1\nlog.dirs={data / 'kafka'}\n"
        f"listeners=PLAINTEXT://{HOST}:9092,CONTROLLER://{HOST}:9093\ncontroller.listener.names=CONTROLLER\n"
        f"controller.quorum.voters=1@{HOST}:9093\n",
        encoding="ascii",
    )
    users = [f"{_MECHANISM}=[name={name},password={PASSWORD}]" for name in (USER, *map(name_of, ROLES))]
    subprocess.run(
        [
            find_java(), "-cp", os.pathsep.join(map(str, jars())), "kafka.tools.StorageTool", "format",
            "--config", str(properties), "--cluster-id", CLUSTER_ID,
            *(word for user in users for word in ("--add-scram", user)),
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def run(module: Sequence[str], env: Mapping[str, str], given: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of the project's modules to its end."""
    return subprocess.run(
        [sys.executable, "-m", *module], env={**os.environ, **env}, input=given, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
