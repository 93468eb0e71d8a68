"""SASL and TLS as settings have them: every client uses them, who is refused is told why, and no secret is told."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from schemas.predictions import Prediction
from services.runtime.clients import ADMIN_ANSWER_MS
from tests.integration.pipelines import KEY, Pipeline, file, fresh_name, until
from tests.integration.security.secured import EVENTS, PASSWORD, SERVICES, USER, Secured, key_store, run


def test_every_client_works_as_somebody_of_its_own(pipeline: Pipeline) -> None:
    """By password over TLS or by certificate, with no more access than the topic table gives each service, events become
    predictions, examples, versions and summaries.
    """

    async def done() -> None:
        async def predicted() -> bool:
            made = await pipeline.decoded("predictions", Prediction)
            return len(made) == EVENTS and all(each.model.version for each in made)

        async def learned_and_watched() -> bool:
            totals = await pipeline.totals()
            watched = totals["summarise"].get("predictions")  # a stage without a checkpoint has no totals yet
            return totals["train"].get("examples", 0) > 0 and watched == EVENTS

        async def published() -> bool:
            return bool(await pipeline.records("parameters") and await pipeline.records("models"))

        await until(predicted, f"a prediction of every event; {pipeline.last_words('scoring')}")
        await until(learned_and_watched, f"labels learned; {pipeline.last_words('learner')}")
        await until(published, f"live parameters and decisions; {pipeline.last_words('learner')}")

    asyncio.run(done())


def test_the_command_authenticates(pipeline: Pipeline, secured: Secured) -> None:
    """The command's own consumer, producer and admin client take the same settings, and need no more access either."""
    record = json.dumps({"id": "by-hand", "at": "2020-01-01T01:00:00Z", "x": 1.0})
    asked: Sequence[tuple[str, Sequence[str], str]] = (
        ("producers", ["produce", "events"], record),
        ("consumers", ["tail", "predictions", "--from-beginning", "--limit", "1"], ""),
        ("operators", ["topics", "--create"], ""),
        ("operators", ["status", "--json"], ""),
    )
    for role, (name, *rest), given in asked:
        arguments = [name, *rest, *(["--pipeline"] if name != "topics" else []), str(pipeline.path)]
        ended = run(["services.cli", *arguments], secured.env(role), given)
        assert ended.returncode == 0, f"{name}: {ended.stderr}"


@dataclass(frozen=True)
class Refused:
    """What is wrong with a service's environment, and words that its one line must have.

    ``within_s`` is how long it may take; where that is little, what any start takes is not counted.
    """

    says: Sequence[str]
    change: Mapping[str, str]
    listener: str = "by_password"
    within_s: float = ADMIN_ANSWER_MS / 1000


ATTEMPTS = 3
"""Who waits for an answer does so every time; a busy machine makes a start slow only now and then."""
REFUSED = {
    "wrong-password": Refused(
        [f"refuses the user '{USER}'", "RIVERMILL_SASL_PASSWORD"],
        {"RIVERMILL_SASL_PASSWORD": "wrong-secret"},
        within_s=4,
    ),
    "unknown-user": Refused(["refuses the user 'nobody'"], {"RIVERMILL_SASL_USERNAME": "nobody"}),
    "other-mechanism": Refused(["RIVERMILL_SASL_MECHANISM"], {"RIVERMILL_SASL_MECHANISM": "PLAIN"}),
    "unknown-authority": Refused(["RIVERMILL_SSL_CAFILE"], {"RIVERMILL_SSL_CAFILE": "other.pem"}, within_s=4),
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
    for _ in range(ATTEMPTS):
        ended, took = timed(["services.cleaning", "--pipeline", str(tmp_path / "pipeline.toml")], env)
        if wrong.within_s < ADMIN_ANSWER_MS / 1000:
            took -= timed(["services.cleaning", "--pipeline", "nowhere.toml"], env)[1]
        if took < wrong.within_s:
            break
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert all(words in ended.stderr for words in wrong.says), ended.stderr
    assert not any(secret in ended.stderr + ended.stdout for secret in (PASSWORD, "wrong-secret", KEY))
    assert took < wrong.within_s, f"took {took:.1f} s: it waited for an answer"


def timed(module: Sequence[str], env: Mapping[str, str]) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a module, and say how long that took."""
    began = time.monotonic()
    ended = run(module, env)
    return ended, time.monotonic() - began


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


def test_no_secret_is_in_a_log(pipeline: Pipeline) -> None:
    """What the services logged, at the level of debugging and while stopping too, holds neither password nor key."""
    for service in SERVICES:
        assert pipeline.terminate(service) == 0, pipeline.last_words(service)
        log = pipeline.processes[service].log.read_text(encoding="utf-8")
        assert f'"service": "{service}"' in log
        assert not any(secret in log for secret in (PASSWORD, KEY)), service
