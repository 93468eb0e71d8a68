"""`rivermill doctor` without Kafka: looks that fail or hang, the registry's token and clock, the disk."""

from __future__ import annotations

import asyncio
import http.server
import os
import shutil
import socket
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from itertools import chain, repeat
from pathlib import Path

import pytest

from services.cli import doctor_host, doctor_registry
from services.cli.__main__ import main
from services.cli.doctor import Finding, Patient, bounded
from services.cli.doctor_command import examined
from services.cli.doctor_registry import registry
from services.registry import tokens
from services.registry.database import open_database
from services.runtime.settings import Settings, SettingsError
from tests.unit.registry.serving import serving

Usage = namedtuple("Usage", "total used free")


def states(found: list[Finding]) -> dict[str, str]:
    return {finding.what: finding.state for finding in found}


def test_a_look_that_fails_or_hangs_is_a_finding() -> None:
    """What goes wrong in a look is told as its finding, in one line, and the time of each is bounded."""

    async def fails(error: BaseException) -> list[Finding]:
        raise error

    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def run() -> list[Finding]:
        looks = [fails(SettingsError("two\nlines")), fails(KeyError("x")), fails(asyncio.CancelledError()), hangs()]
        return [finding for look in looks for finding in await bounded("it", look, 0.05)]

    began = time.monotonic()
    told = [(finding.what, finding.state, finding.told) for finding in asyncio.run(run())]
    assert time.monotonic() - began < 3
    assert told == [
        ("it", "wrong", "two lines"),
        ("it", "wrong", "could not be looked at (KeyError: 'x')"),
        ("it", "wrong", "could not be looked at (a library's own task was cancelled)"),
        ("it", "wrong", "no answer within 0.05 s"),
    ]


@pytest.mark.parametrize(("token", "state", "told"), [
    ("the-right-token", "well", "accepted"),
    ("another-token", "wrong", "refused"),
    (None, "wrong", "none is set"),
])  # fmt: skip
def test_the_token_is_tried_without_writing(tmp_path: Path, token: str | None, state: str, told: str) -> None:
    """The registry's own answer says whether the token is good; nothing is left behind in it."""
    with serving(tmp_path, {"RIVERMILL_REGISTRY_TOKEN": "the-right-token"}) as client:
        settings = Settings(registry_url=str(client.base_url).rstrip("/"), registry_token=token)
        found = asyncio.run(registry(Patient(settings, None, {})))
        assert client.get("/api/v1/specs/" + "0" * 64).status_code == 404
    finding = next(finding for finding in found if finding.what == "token")
    assert (finding.state, told in finding.told) == (state, True), finding


def test_a_token_that_may_only_read_is_told(tmp_path: Path) -> None:
    """A token of the registry's own without the right to write is good for some processes: worth a look."""
    with serving(tmp_path, {"RIVERMILL_REGISTRY_TOKEN": "the-right-token"}) as client:
        database = open_database(f"sqlite:///{next(tmp_path.rglob('*.sqlite*'))}")
        reads = tokens.create(database, "reads", ["read"], datetime.now(UTC))
        database.close()
        settings = Settings(registry_url=str(client.base_url).rstrip("/"), registry_token=reads)
        found = asyncio.run(registry(Patient(settings, None, {})))
    assert states(found)["token"] == "look"


@contextmanager
def dated(ahead_s: float, stale_s: float = 0) -> Iterator[str]:
    """A server with the date of another time, that answers as an empty registry would.

    At its first look at the time it was so much older: a server that is busy renews its date late.
    """
    ages = chain([stale_s], repeat(0))

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        do_PUT = do_GET  # noqa: N815 - http.server's name

        def date_time_string(self, timestamp: float | None = None) -> str:
            stale = next(ages) if self.path == "/healthz" else 0
            return formatdate((timestamp or time.time()) + ahead_s - stale, usegmt=True)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("ahead_s", "state", "told"), [
    (0, "well", "within a second"), (60, "look", "ahead of"), (-60, "look", "behind"),
])  # fmt: skip
def test_a_clock_that_differs_is_told(ahead_s: float, state: str, told: str) -> None:
    """A registry whose clock is a minute off is told with the direction; whole seconds of a right one are not."""
    with dated(ahead_s) as url:
        found = asyncio.run(registry(Patient(Settings(registry_url=url), None, {})))
    finding = next(finding for finding in found if finding.what == "registry's clock")
    assert (finding.state, told in finding.told) == (state, True), finding


def test_a_date_that_is_renewed_late_is_no_clock_that_is_behind() -> None:
    """The date of a busy server is older than a second for a moment: nobody is told to set a clock that is right."""
    with dated(0, stale_s=3) as url:
        found = asyncio.run(registry(Patient(Settings(registry_url=url), None, {})))
    assert states(found)["registry's clock"] == "well", found


def test_a_port_that_never_answers_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that takes connections and says nothing is given up within seconds."""
    assert doctor_registry._ANSWER_S <= 5
    monkeypatch.setattr(doctor_registry, "_ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        found = asyncio.run(registry(Patient(Settings(registry_url=url), None, {})))
    assert states(found) == {"registry": "wrong"}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("free", "state"), [(10**12, "well"), (5 * 10**8, "look"), (10**7, "wrong")])
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    """Little room is worth a look, none is wrong."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - free, free))
    assert states(asyncio.run(doctor_host.disk(Settings(data_dir=tmp_path)))) == {"disk": state}


def test_a_data_directory_is_found_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default one, `.data`, can be written where it is there, and made where it is not."""
    monkeypatch.chdir(tmp_path)
    for word in ("made", "written"):
        (finding,) = asyncio.run(doctor_host.data_directory(Settings(data_dir=Path(".data"))))
        assert finding.told == f".data can be {word}"
        Path(".data").mkdir(exist_ok=True)


def test_nothing_is_made_but_a_probe(tmp_path: Path) -> None:
    """A data directory that is not there yet is not made, and one that is stays as it was."""
    there = tmp_path / "there"
    there.mkdir()
    for path in (there, tmp_path / "not" / "there"):
        assert states(asyncio.run(doctor_host.data_directory(Settings(data_dir=path)))) == {"data directory": "well"}
    assert list(tmp_path.iterdir()) == [there]
    assert not list(there.iterdir())


def test_settings_that_cannot_be_read_are_a_finding(tmp_path: Path) -> None:
    """A setting that is wrong ends the looking with its own words, not with an error."""
    found = asyncio.run(examined(None, [], None, tmp_path, {"RIVERMILL_REPLICATION": "many"}))
    assert [(finding.what, finding.state) for finding in found] == [("settings", "wrong")]
    assert "RIVERMILL_REPLICATION" in found[0].told


def test_the_command_ends_with_1_and_json_when_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without broker and registry the exit code is 1, and every finding is one JSON object."""
    for name in [name for name in os.environ if name.startswith("RIVERMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RIVERMILL_REGISTRY_URL", "http://127.0.0.1:1")
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--broker", "127.0.0.1:1", "--data-dir", str(tmp_path), "--json"])
    assert ended.value.code == 1
    assert '"what":"broker","state":"wrong"' in capsys.readouterr().out
