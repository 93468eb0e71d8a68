"""What docker-compose.yml promises can be read in it, and it says nothing that Compose or the product does not know."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest
import yaml

from schemas.topics import SERVICES
from services.cli.jars import KAFKA
from services.registry.settings import registry_settings
from services.runtime.settings import DEFAULT_PORTS, from_environment
from tests.composed import FILE, OWN_KAFKA, ROOT, compose, image_environment, mounts, ours

SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
OWN = {"RIVERMILL_BROKER": "kafka-1:9092", "RIVERMILL_SSL_CA": "ca.pem", "RIVERMILL_SECURITY_PROTOCOL": "SASL_SSL",
       "RIVERMILL_SASL_USERNAME": "rivermill"}  # fmt: skip
WAYS = {"as it is": compose({}), "own Kafka": compose(OWN, OWN_KAFKA)}
EVERY = [
    pytest.param(service, id=f"{name}, {way}")
    for way, whole in WAYS.items()
    for name, service in whole["services"].items()
]
OURS = [
    pytest.param(name, service, id=f"{name}, {way}")
    for way, whole in WAYS.items()
    for name, service in ours(whole).items()
]
SECRET = re.compile("password|secret|token|key", re.IGNORECASE)


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("whole", WAYS.values(), ids=WAYS)
def test_the_file_is_valid_by_the_specification(whole: dict[str, Any]) -> None:
    """The file, its variables put in, is valid by the Compose Specification's own schema."""
    checked = jsonschema.Draft202012Validator(SCHEMA)
    assert [f"{error.json_path}: {error.message}" for error in checked.iter_errors(whole)] == []


def test_everything_of_the_path_is_there() -> None:
    """Broker, database, registry, the four Kafka services, and what shows how they are."""
    assert {"kafka", "postgres", "registry", *SERVICES, "prometheus", "grafana"} <= WAYS["as it is"]["services"].keys()


@pytest.mark.parametrize("service", EVERY)
def test_every_service_is_confined(service: dict[str, Any]) -> None:
    """No root, no capability, no new privilege, no writing but where it must, bounded memory, CPU, processes and log."""
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["logging"]["driver"] == "local"
    assert all(":size=" in each or ",size=" in each for each in service.get("tmpfs", ()))


@pytest.mark.parametrize("service", EVERY)
def test_every_image_is_pinned_and_every_port_is_of_this_machine_alone(service: dict[str, Any]) -> None:
    """An image has a tag with a whole version, and what is published is published on the loopback address."""
    tag = service["image"].partition(":")[2]
    assert re.match(r"v?\d+\.\d+(\.\d+|-\w+)", tag), service["image"]
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))


@pytest.mark.parametrize("service", EVERY)
def test_every_service_that_stays_has_a_health_check(service: dict[str, Any]) -> None:
    """A check with bounded time; a command that ends has none, and is in no start without its profile."""
    if service["healthcheck"].get("disable"):
        assert service["profiles"]
        assert service["restart"] == "no"
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", EVERY)
def test_no_secret_is_in_the_file(service: dict[str, Any]) -> None:
    """What holds a secret is named by a path under /run/secrets, to a secret that the service is given."""
    granted = {f"/run/secrets/{name}" for name in service.get("secrets", ())}
    for name, value in service.get("environment", {}).items():
        if SECRET.search(name):
            assert name.endswith("_FILE")
            assert value in granted
    assert {
        value for value in service.get("environment", {}).values() if str(value).startswith("/run/secrets/")
    } == granted


@pytest.mark.parametrize("service", EVERY)
def test_whom_a_service_waits_for_can_say_when(service: dict[str, Any]) -> None:
    """Each service waited for is there, and to be healthy."""
    services = WAYS["as it is"]["services"]
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] == "service_healthy"
        assert not services[other]["healthcheck"].get("disable")


@pytest.mark.parametrize(("name", "service"), OURS)
def test_every_variable_is_a_setting(name: str, service: dict[str, Any], tmp_path: Path) -> None:
    """The product asks for each variable that a service of ours is given, and takes its value."""
    given = {key: str(value) for key, value in service["environment"].items()}
    subprocess.run(["sh", ROOT / "deploy/compose/secrets.sh", tmp_path], check=True)
    (tmp_path / "kafka_password").write_text("of a Kafka of one's own\n")
    env = Asked({key: value.replace("/run/secrets", str(tmp_path)) for key, value in given.items()})
    if name == "registry":
        command = service["command"]
        registry_settings(env, command[command.index("--host") + 1], 8080)
    else:
        from_environment(env)
    assert given.keys() - env.names == set()


@pytest.mark.parametrize(("name", "service"), OURS)
def test_our_services_can_be_had_more_than_once(name: str, service: dict[str, Any]) -> None:
    """But for the registry, which is published, nothing keeps `--scale` from starting a second one."""
    assert "container_name" not in service
    assert "hostname" not in service
    assert name == "registry" or not service.get("ports")
    assert name in ("registry", "replay") or mounts(service)["/var/lib/rivermill"] is None


@pytest.mark.parametrize(("name", "service"), OURS)
def test_health_is_asked_where_a_service_answers(name: str, service: dict[str, Any]) -> None:
    """The port of a Kafka service's check is its default one, which its settings leave as it is."""
    if name in SERVICES:
        assert service["healthcheck"]["test"][-1] == f"http://127.0.0.1:{DEFAULT_PORTS[name]}/healthz"
        assert "RIVERMILL_WEB_PORT" not in service["environment"]


def test_every_file_that_is_mounted_exists() -> None:
    """What is not there would be made a folder by some engines: the pipeline file, the configuration of Prometheus."""
    sources = {source for service in WAYS["as it is"]["services"].values() for source in mounts(service).values()}
    here = {PurePosixPath(source) for source in sources if source and source.startswith(".")}
    files = {source for source in here if source.suffix}
    assert {source.name for source in files} == {"pipeline.toml", "prometheus.yml"}
    assert {source.name for source in here - files} == {"rules", "provisioning", "dashboards"}
    assert [source for source in files if not (ROOT / source).is_file()] == []
    assert [source for source in here - files if not list((ROOT / source).glob("*"))] == []


def test_prometheus_and_grafana_find_what_is_made_for_them() -> None:
    """Configuration, rules, provisioning and dashboards lie where the two, and the provisioning itself, look for them."""
    services = WAYS["as it is"]["services"]
    assert {**mounts(services["prometheus"]), **mounts(services["grafana"])} == {
        "/etc/prometheus/prometheus.yml": "./deploy/prometheus/prometheus.yml",
        "/etc/prometheus/rules": "./deploy/prometheus/rules",
        "/prometheus": "prometheus",
        "/etc/grafana/provisioning": "./deploy/grafana/provisioning",
        "/etc/grafana/dashboards": "./deploy/grafana/dashboards",
        "/var/lib/grafana": "grafana",
    }


def port(service: dict[str, Any]) -> int:
    """Where a service answers in its container: the port that its own health check asks."""
    (found,) = {int(each) for word in service["healthcheck"]["test"] for each in re.findall(r"//127.0.0.1:(\d+)", word)}
    return found


def test_prometheus_scrapes_our_services_where_they_answer() -> None:
    """Each host of its configuration is a service of the file, on a network with Prometheus, at its port; none is left out."""
    services = WAYS["as it is"]["services"]
    near = set(services["prometheus"].get("networks", ["default"]))
    loaded = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    asked = {}
    for job in loaded["scrape_configs"]:
        for found in job.get("dns_sd_configs", ()):
            asked |= dict.fromkeys(found["names"], found["port"])
        for found in job.get("static_configs", ()):
            asked |= {host: int(number) for host, number in (target.split(":") for target in found["targets"])}
    assert asked == {name: port(services[name]) for name in (*SERVICES, "registry")}
    assert all(near & set(services[name].get("networks", ["default"])) for name in asked)


def test_prometheus_reads_its_rules_where_they_are_mounted() -> None:
    """Configuration and rules lie where the command, and the configuration, look for them; each rule file is read."""
    prometheus = WAYS["as it is"]["services"]["prometheus"]
    (configuration,) = [
        word.removeprefix("--config.file=") for word in prometheus["command"] if word.startswith("--config.file=")
    ]
    mounted = mounts(prometheus)
    assert mounted[configuration] == "./deploy/prometheus/prometheus.yml"
    loaded = yaml.safe_load((ROOT / str(mounted[configuration])).read_text(encoding="utf-8"))
    (pattern,) = [PurePosixPath(configuration).parent / each for each in loaded["rule_files"]]
    folder = ROOT / str(mounted[str(pattern.parent)])
    assert folder == ROOT / "deploy/prometheus/rules"
    assert set(folder.glob(pattern.name)) == set(folder.iterdir())


def test_grafana_finds_prometheus_and_its_dashboards() -> None:
    """The data source's URL is the file's Prometheus, and the provider reads the folder that is mounted there."""
    services = WAYS["as it is"]["services"]
    mounted = mounts(services["grafana"])
    provisioning = ROOT / str(mounted["/etc/grafana/provisioning"])
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    assert source["url"] == f"http://prometheus:{port(services['prometheus'])}"
    (provider,) = yaml.safe_load((provisioning / "dashboards/rivermill.yml").read_text(encoding="utf-8"))["providers"]
    assert mounted[provider["options"]["path"]] == "./deploy/grafana/dashboards"


def test_kafka_is_the_one_that_the_tests_run_on() -> None:
    """The image's version is that of the embedded broker's jars."""
    assert WAYS["as it is"]["services"]["kafka"]["image"].rpartition(":")[2] == KAFKA.rpartition(":")[2]


def test_one_version_is_named_everywhere() -> None:
    """The tags of our images and the Dockerfile's label are the project's version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert {service["image"].rpartition(":")[2] for service in ours(WAYS["as it is"]).values()} == {version}
    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_example_of_an_environment_file_changes_nothing() -> None:
    """Each of its lines is a variable of the file with its default; none is left out, and those of an own Kafka are shown."""
    text = (ROOT / "deploy" / "compose" / "env.example").read_text(encoding="utf-8")
    shown = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert compose(shown) == compose({})
    variables = set(re.findall(r"\$\{(\w+)", FILE.read_text(encoding="utf-8")))
    assert variables - shown.keys() == {"RIVERMILL_BROKER"}
    assert shown.keys() <= variables
    assert set(re.findall(r"\$\{(\w+)", OWN_KAFKA.read_text(encoding="utf-8"))) <= set(
        re.findall(r"^#? ?(\w+)=", text, re.MULTILINE)
    )


@pytest.mark.parametrize("file", [FILE, OWN_KAFKA], ids=lambda file: file.name)
def test_variables_are_written_as_the_tests_read_them(file: Path) -> None:
    """No dollar sign that Compose would take for a variable and `tests/composed.py` would not."""
    assert re.findall(r"\$(?!\{\w+(?::[-?+][^{}]*)?\})", file.read_text(encoding="utf-8")) == []


def test_an_own_kafka_replaces_the_one_of_the_file() -> None:
    """Its services are told the address and how to log in, wait for no other, and the file's broker does not start."""
    whole = WAYS["own Kafka"]
    assert whole["services"]["kafka"]["profiles"]
    for service in ours(whole).values():
        assert service["environment"]["RIVERMILL_BROKER"] == "kafka-1:9092"
        assert service["environment"]["RIVERMILL_SSL_CAFILE"] in mounts(service)
        assert service.get("depends_on", {}).get("kafka", {"required": False})["required"] is False
    with pytest.raises(AssertionError, match="name your Kafka"):
        compose({}, OWN_KAFKA)


def test_an_own_kafka_may_want_no_login(tmp_path: Path) -> None:
    """With its address alone, and the password's file as empty as the script makes it, services log in nowhere."""
    subprocess.run(["sh", ROOT / "deploy/compose/secrets.sh", tmp_path], check=True)
    assert (tmp_path / "kafka_password").read_text() == ""
    whole = compose({"RIVERMILL_BROKER": "kafka-1:9092"}, OWN_KAFKA)
    for name, service in ours(whole).items():
        given = {
            key: str(value).replace("/run/secrets", str(tmp_path)) for key, value in service["environment"].items()
        }
        settings = from_environment(given)
        assert given["RIVERMILL_SASL_PASSWORD_FILE"], name
        assert (settings.broker, settings.security_protocol) == ("kafka-1:9092", "PLAINTEXT"), name
        assert (settings.sasl_password, settings.ssl_cafile) == (None, None), name


def test_secrets_are_made_once_and_are_their_makers_alone(tmp_path: Path) -> None:
    """The script makes every secret of the file, in a folder that others cannot enter, and never changes one."""
    folder = tmp_path / "secrets"
    made = []
    for _ in range(2):
        subprocess.run(["sh", ROOT / "deploy/compose/secrets.sh", folder], check=True)
        made.append({file.name: file.read_text() for file in folder.iterdir()})
    found = made[0]
    assert made[1] == found
    assert found.keys() == WAYS["own Kafka"]["secrets"].keys()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keys = [found[name].strip() for name in ("signing_key", "registry_token", "postgres_password", "grafana_password")]
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)
    assert len(set(keys)) == len(keys)
    assert (
        found["registry_database"]
        == f"postgresql://rivermill:{found['postgres_password'].strip()}@postgres:5432/rivermill\n"
    )
    again = tmp_path / "again"
    subprocess.run(["sh", ROOT / "deploy/compose/secrets.sh", again], check=True)
    assert (again / "signing_key").read_text() != found["signing_key"]


def test_the_images_own_settings_are_known() -> None:
    """What the Dockerfile sets for the services is a setting, in a place that is a volume in the file."""
    env = image_environment("services")
    assert from_environment(env).data_dir == Path("/var/lib/rivermill")
    assert {name for name in env if name.startswith("RIVERMILL_")} == {"RIVERMILL_DATA_DIR"}


@pytest.mark.parametrize("whole", WAYS.values(), ids=WAYS)
def test_the_registry_answers_nobody_without_a_token(whole: dict[str, Any]) -> None:
    """It cannot tell that its port is published on 127.0.0.1 alone: a website may have pointed its name there."""
    registry = whole["services"]["registry"]
    told = {name: value for name, value in registry["environment"].items() if not name.endswith("_FILE")}
    host = registry["command"][registry["command"].index("--host") + 1]
    secrets = {"RIVERMILL_REGISTRY_TOKEN": "secret", "RIVERMILL_SASL_PASSWORD": "secret"}
    assert registry_settings(told | secrets, host=host).anonymous == ()
