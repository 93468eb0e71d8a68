"""SASL and TLS as settings have them: every client uses them, who is refused is told why, and no secret is told."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from schemas.predictions import Prediction
from services.runtime.clients import ADMIN_ANSWER_MS
from services.runtime.launch import Deployment
from services.runtime.settings import from_environment
from tests.integration.load import Load
from tests.integration.pipelines import KEY, Pipeline, file, fresh_name, send, until
from tests.integration.secured import PASSWORD, USER, Secured, key_store, secured_broker

SERVICES = ("registry", "cleaning", "scoring", "learner", "drift")
EVENTS = 600


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker of this module's own."""
    with secured_broker(tmp_path_factory.mktemp("secured")) as running:
        yield running


def reaching(pipeline: Pipeline, env: Mapping[str, str]) -> Pipeline:
    """The pipeline, with the tests' own clients made as its processes' are."""
    settings = from_environment({"RIVERMILL_REGISTRY_URL": pipeline.deployment.settings.registry_url, **env})
    pipeline.deployment = Deployment(pipeline.deployment.spec, settings)
    return pipeline


@pytest.fixture(scope="module")
def pipeline(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """All five services, which know of nothing but the listener that asks for a password, and some work."""
    env = secured.by_password
    with Pipeline(tmp_path_factory.mktemp("secured"), env["RIVERMILL_BROKER"], file(fresh_name("secured"))) as started:
        reaching(started, env)
        for service in SERVICES:
            started.start(service, **env, RIVERMILL_LOG_LEVEL="debug")
        started.wait_ready()
        asyncio.run(work(started))
        yield started


async def work(pipeline: Pipeline) -> None:
    """Send events and all their labels."""
    stream, deployment = Load("s"), pipeline.deployment
    events, labels = stream.portion(EVENTS)
    await send(deployment, deployment.events_topic, events)
    await send(deployment, deployment.labels_topic, labels + stream.rest())


def test_every_client_authenticates_over_tls(pipeline: Pipeline) -> None:
    """Behind a listener that wants a password over TLS, events become predictions, examples, versions and summaries."""

    async def done() -> None:
        async def predicted() -> bool:
            made = await pipeline.decoded("predictions", Prediction)
            return len(made) == EVENTS and all(each.model.version for each in made)

        async def learned_and_watched() -> bool:
            totals = await pipeline.totals()
            return totals["train"]["examples"] > 0 and totals["summarise"]["predictions"] == EVENTS

        await until(predicted, f"a prediction of every event; {pipeline.last_words('scoring')}")
        await until(learned_and_watched, f"labels learned; {pipeline.last_words('learner')}")
        assert await pipeline.records("parameters"), "no live parameters"
        assert await pipeline.records("models"), "the registry published nothing"

    asyncio.run(done())


def test_the_command_authenticates_over_tls(pipeline: Pipeline, secured: Secured) -> None:
    """The command's own consumer, producer and admin client take the same settings."""
    record = json.dumps({"id": "by-hand", "at": "2020-01-01T01:00:00Z", "x": 1.0})
    asked: Sequence[tuple[Sequence[str], str]] = (
        (["produce", "events"], record),
        (["topics"], ""),
        (["tail", "predictions", "--from-beginning", "--limit", "1"], ""),
        (["status", "--json"], ""),
    )
    for (name, *rest), given in asked:
        arguments = [name, *rest, *(["--pipeline"] if name != "topics" else []), str(pipeline.path)]
        ended = run(["services.cli", *arguments], secured.by_password, given)
        assert ended.returncode == 0, f"{name}: {ended.stderr}"


@pytest.mark.parametrize("listener", ["by_certificate", "in_the_clear"])
def test_cleaning_works_behind_every_other_listener(secured: Secured, tmp_path: Path, listener: str) -> None:
    """With a client certificate and no password, or with a password and no TLS, cleaning cleans every event."""
    env: dict[str, str] = getattr(secured, listener)
    with Pipeline(tmp_path, env["RIVERMILL_BROKER"], file(fresh_name("listener"))) as pipeline:
        reaching(pipeline, env)
        pipeline.start("cleaning", **env)
        pipeline.wait_ready()
        asyncio.run(work(pipeline))

        async def cleaned() -> bool:
            return (await pipeline.totals()).get("clean", {}).get("events") == EVENTS

        asyncio.run(until(cleaned, f"every event clean; {pipeline.last_words('cleaning')}"))


@dataclass(frozen=True)
class Refused:
    """What is wrong with a service's environment, and words that its one line must have."""

    says: Sequence[str]
    change: Mapping[str, str]
    listener: str = "by_password"


REFUSED = {
    "wrong-password": Refused(
        [f"refuses the user '{USER}'", "RIVERMILL_SASL_PASSWORD"], {"RIVERMILL_SASL_PASSWORD": "wrong-secret"}
    ),
    "unknown-user": Refused(["refuses the user 'nobody'"], {"RIVERMILL_SASL_USERNAME": "nobody"}),
    "other-mechanism": Refused(["RIVERMILL_SASL_MECHANISM"], {"RIVERMILL_SASL_MECHANISM": "PLAIN"}),
    "unknown-authority": Refused(["RIVERMILL_SSL_CAFILE"], {"RIVERMILL_SSL_CAFILE": "other.pem"}),
    "system-authorities": Refused(["RIVERMILL_SSL_CAFILE"], {"RIVERMILL_SSL_CAFILE": ""}),
    "another-host": Refused(
        ["not valid for 'localhost'", "RIVERMILL_BROKER"], {"RIVERMILL_BROKER": "localhost:{port}"}
    ),
    "no-tls": Refused(["speak SASL_PLAINTEXT"], {"RIVERMILL_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}),
    "no-security": Refused(["speak PLAINTEXT"], {"RIVERMILL_SECURITY_PROTOCOL": "PLAINTEXT"}),
    "no-password": Refused(["speak SSL"], {"RIVERMILL_SECURITY_PROTOCOL": "SSL"}),
    "tls-where-there-is-none": Refused(["speak SSL"], {"RIVERMILL_SECURITY_PROTOCOL": "SSL"}, "plain"),
    "password-where-none-is-asked": Refused(
        ["RIVERMILL_SECURITY_PROTOCOL to PLAINTEXT"],
        {
            "RIVERMILL_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "RIVERMILL_SASL_USERNAME": USER,
            "RIVERMILL_SASL_PASSWORD": "wrong-secret",
        },
        "plain",
    ),
    "no-certificate": Refused(["RIVERMILL_SSL_CERTFILE"], {"RIVERMILL_SSL_CERTFILE": ""}, "by_certificate"),
    "foreign-certificate": Refused(
        ["RIVERMILL_SSL_CERTFILE"], {"RIVERMILL_SSL_CERTFILE": "theirs.pem"}, "by_certificate"
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused_is_told_why_in_one_line(secured: Secured, tmp_path: Path, case: str) -> None:
    """Wrong credentials, authorities and protocols end a service with one line and no secret, before any request that is
    not answered would have been given up.
    """
    wrong = REFUSED[case]
    env = environment(secured, wrong, tmp_path)
    (tmp_path / "pipeline.toml").write_text(file(fresh_name("refused")), encoding="utf-8")
    began = time.monotonic()
    ended = run(["services.cleaning", "--pipeline", str(tmp_path / "pipeline.toml")], env)
    took = time.monotonic() - began
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert all(words in ended.stderr for words in wrong.says), ended.stderr
    assert not any(secret in ended.stderr + ended.stdout for secret in (PASSWORD, "wrong-secret", KEY))
    assert took < ADMIN_ANSWER_MS / 1000, f"took {took:.1f} s: it waited for an answer"


def environment(secured: Secured, wrong: Refused, folder: Path) -> dict[str, str]:
    """The right settings of a listener, with one thing wrong; files of another authority lie in the folder."""
    other = trustme.CA()
    other.cert_pem.write_to_path(folder / "other.pem")
    key_store(folder / "theirs.pem", other.issue_cert("client.example.org"))
    env: dict[str, str] = getattr(secured, wrong.listener) | {"RIVERMILL_SIGNING_KEY": KEY}
    port = env["RIVERMILL_BROKER"].rpartition(":")[2]
    for name, change in wrong.change.items():
        value = change.format(port=port)
        env[name] = str(folder / value) if value.endswith(".pem") else value
    if wrong.change.get("RIVERMILL_SSL_CERTFILE"):
        env["RIVERMILL_SSL_KEYFILE"] = env["RIVERMILL_SSL_CERTFILE"]
    return env


def run(module: Sequence[str], env: Mapping[str, str], given: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of the project's modules to its end."""
    return subprocess.run(
        [sys.executable, "-m", *module], env={**os.environ, **env}, input=given, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip


def test_no_secret_is_in_a_log(pipeline: Pipeline) -> None:
    """What the services logged, at the level of debugging and while stopping too, holds neither password nor key."""
    for service in SERVICES:
        assert pipeline.terminate(service) == 0, pipeline.last_words(service)
        log = pipeline.processes[service].log.read_text(encoding="utf-8")
        assert f'"service": "{service}"' in log
        assert not any(secret in log for secret in (PASSWORD, KEY)), service
