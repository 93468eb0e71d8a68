"""The access lists that the operator's page has printed, made by Kafka's own tool."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from services.cli.access_lists import acls
from tests.integration.kafka_tools import lay_out
from tests.integration.pipelines import deployed, file, fresh_name
from tests.integration.security.secured import Secured
from tests.pages import blocks

ROLE = "cleaning"
"""It needs rights of every kind."""


def test_the_printed_commands_allow_what_json_says(secured: Secured, tmp_path: Path) -> None:
    """A role whose lines were run may do exactly what the JSON, with which the whole path is tested, lists for it."""
    broker = secured.plain["RIVERMILL_BROKER"]
    deployment = deployed(tmp_path / "P.toml", file(fresh_name("printed")), broker)
    (tmp_path / "admin.properties").write_text("security.protocol=PLAINTEXT\n", encoding="ascii")
    ((_, block),) = blocks("operating.md", "## Who may do what in Kafka")
    pattern = re.findall(r"--principal '(\S+)'", block)[0]
    principal = pattern.format(role=ROLE)
    told = shell(
        tmp_path,
        f"""
        {block.strip().replace("kafka.example.org:9093", broker)} > all.sh
        grep -F ' {principal} ' all.sh > role.sh
        . ./role.sh > done
        kafka-acls.sh --bootstrap-server {broker} --command-config admin.properties --list --principal {principal}
    """,
    )
    expected = {
        (constant(entry.resource), entry.name, constant(entry.pattern), constant(operation))
        for entry in acls(deployment.grants(), pattern)
        if entry.principal == principal
        for operation in entry.operations
    }
    assert listed(told) == expected, told


def shell(folder: Path, script: str) -> str:
    """What a script prints in a folder, with Kafka's tools and the command on PATH."""
    (folder / "bin").mkdir()
    env = lay_out(folder / "bin")
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, timeout=120, check=True
    ).stdout


def listed(told: str) -> set[tuple[str, ...]]:
    """Kind, name and pattern of each resource and an operation, as `kafka-acls.sh --list` prints them."""
    found = set()
    for part in told.split("Current ACLs for resource")[1:]:
        (resource,) = re.findall(r"resourceType=(\w+), name=(\S+), patternType=(\w+)\)", part)
        found |= {(*resource, it) for it in re.findall(r"host=\*, operation=(\w+), permissionType=ALLOW\)", part)}
    return found


def constant(word: str) -> str:
    """A word as Kafka's tool prints it: DescribeConfigs is DESCRIBE_CONFIGS."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", word).upper()
