"""Who may do what: tokens with scopes, what is allowed without one, and how often somebody may be wrong."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

from services.cli.tokens import command
from services.registry import guards, tokens
from services.registry.database import Database, open_database
from services.registry.limits import Limiter, client_of
from services.registry.settings import registry_settings
from services.runtime.settings import SettingsError
from tests.unit.registry.serving import database_url, post, serving

NOW = datetime(2026, 1, 31, tzinfo=UTC)
API = "/api/v1/models/flights"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def closed(tmp_path: Path, registry_env: dict[str, str]) -> Iterator[httpx.Client]:
    """A client of a registry in ``tmp_path`` that lets nobody do anything without a token."""
    with serving(tmp_path, registry_env | {"RIVERMILL_REGISTRY_ANONYMOUS": "none"}) as connected:
        yield connected


ACTS: dict[str, Callable[[httpx.Client, dict[str, str]], httpx.Response]] = {
    "read": lambda client, headers: client.get("/api/v1/models", headers=headers),
    "publish": lambda client, headers: post(client, "flights", b"x", headers=headers),
    "promote": lambda client, headers: client.put(
        f"{API}/aliases/champion", json={"version": 1, "reason": "decided by a test"}, headers=headers
    ),
}


def test_a_token_does_what_it_is_for_and_reads(database: Database, closed: httpx.Client) -> None:
    """Each scope lets its holder read and do its own thing, and nothing else; who does it is the token's name."""
    publisher = tokens.create(database, "learner", ["publish"], NOW)
    assert ACTS["publish"](closed, bearer(publisher)).json()["actor"] == "learner"
    for scope in tokens.SCOPES:
        secret = tokens.create(database, f"only-{scope}", [scope], NOW)
        for act, ask in ACTS.items():
            answer = ask(closed, bearer(secret))
            assert answer.is_success == (act in ("read", scope)), (scope, act, answer.text)
            if not answer.is_success:
                assert answer.status_code == 403
                assert f"only-{scope} may not {act}" in answer.json()["title"]


def test_without_a_token_a_closed_registry_answers_monitoring_alone(closed: httpx.Client) -> None:
    """Pages, API, its description and static parts need a token; health, readiness and metrics do not."""
    for path in ("/", "/models/flights", "/api/v1/models", "/schema"):
        refused = closed.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/healthz", "/readyz", "/metrics"):
        assert closed.get(path).status_code == 200, path
    page = closed.get("/", headers={"Accept": "text/html,*/*"})
    assert page.status_code == 401
    assert "/sign-in" in page.text
    assert closed.get("/sign-in").status_code == 200


def test_a_revoked_token_is_worth_nothing_at_once(database: Database, closed: httpx.Client) -> None:
    """The request after the revocation is refused, and the name cannot be given again."""
    secret = tokens.create(database, "ci", ["read"], NOW)
    assert ACTS["read"](closed, bearer(secret)).status_code == 200
    tokens.revoke(database, "ci", NOW)
    assert ACTS["read"](closed, bearer(secret)).status_code == 401
    with pytest.raises(SettingsError, match="already, or was"):
        tokens.create(database, "ci", ["read"], NOW)
    with pytest.raises(SettingsError, match="no token 'nobody'"):
        tokens.revoke(database, "nobody", NOW)


def test_the_database_holds_no_token(database: Database) -> None:
    """What is stored is the hash: no column of no row holds a token or a part of it."""
    secret = tokens.create(database, "ci", tokens.SCOPES, NOW)
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM tokens")).all()
    assert tokens.sha256(secret) in rows[0]
    stored = " ".join(str(value) for value in rows[0])
    assert not any(secret[start : start + 8] in stored for start in range(len(tokens.PREFIX), len(secret) - 8))


def test_last_use_is_noted_once_a_minute(database: Database) -> None:
    """The first use is noted, further ones within a minute write nothing."""
    secret = tokens.create(database, "ci", ["read"], NOW)
    assert tokens.listed(database)[0].used_at is None
    for _ in range(3):
        assert tokens.find(database, secret)
    (first,) = tokens.listed(database)
    assert first.used_at is not None
    tokens.find(database, secret)
    assert tokens.listed(database) == [first]


def test_a_browser_holds_a_token_in_a_cookie(database: Database, closed: httpx.Client) -> None:
    """Who has signed in reads and writes, but for pages of ours alone, since a browser sends cookies for any page."""
    secret = tokens.create(database, "anna", ["publish", "promote"], NOW)
    assert closed.post("/sign-in", data={"token": "wrong"}).status_code == 401
    assert closed.get("/").status_code == 401
    assert closed.post("/sign-in", data={"token": secret}).status_code == 303
    assert closed.get("/").status_code == 200
    assert post(closed, "flights", b"x", headers={"Sec-Fetch-Site": "same-origin"}).json()["actor"] == "anna"
    for site in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://elsewhere"}):
        assert post(closed, "flights", b"y", offset=1, headers=site).status_code == 403, site
    tokens.revoke(database, "anna", NOW)
    assert closed.get("/").status_code == 401
    assert closed.get("/sign-in").status_code == 200


def test_the_token_of_the_settings_does_everything(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """With it set, writes need it, reads on loopback do not, and its holder is trusted to say who it is."""
    with serving(tmp_path, registry_env | {"RIVERMILL_REGISTRY_TOKEN": "a-long-secret"}) as client:
        for wrong in ({}, bearer("a-long-secre"), {"Authorization": "Basic a-long-secret"}):
            refused = post(client, "flights", b"x", headers=wrong)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == "Bearer"
        token = bearer("a-long-secret")
        assert post(client, "flights", b"x", headers=token).json()["actor"] == "token"
        named = token | {"X-Rivermill-Actor": "learner"}
        assert post(client, "flights", b"x", offset=1, headers=named).json()["actor"] == "learner"
        assert ACTS["promote"](client, token).status_code == 200
        assert client.get(API).status_code == 200
        assert client.get(API, headers=bearer("wrong")).status_code == 401


def test_who_a_named_token_says_it_is_follows_its_name(database: Database, closed: httpx.Client) -> None:
    """The log names the token whatever its holder claims to be."""
    secret = tokens.create(database, "ci", ["publish"], NOW)
    claimed = bearer(secret) | {"X-Rivermill-Actor": "anna"}
    assert post(closed, "flights", b"x", headers=claimed).json()["actor"] == "ci: anna"


def test_pages_of_other_sites_cannot_write(refusing: httpx.Client) -> None:
    """A browser that was led here by another site changes nothing, though the registry listens on loopback."""
    assert post(refusing, "flights", b"x", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_a_name_that_was_made_to_point_here_reads_nothing(refusing: httpx.Client, host: str) -> None:
    """On loopback, a request without a token must call this machine by its own name: a rebound one is another's."""
    assert refusing.get("/api/v1/models", headers={"Host": host}).status_code == 401
    for own in ("localhost", "127.0.0.1:8080", "[::1]:8080"):
        assert refusing.get("/api/v1/models", headers={"Host": own}).status_code == 200


def test_who_is_wrong_too_often_has_to_wait(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """After ten wrong tokens an address is not heard for a while, and is told how long; a token that nobody can guess is
    heard. The log is not filled with it.
    """
    settings = {"RIVERMILL_REGISTRY_TOKEN": "badly-chosen", "RIVERMILL_REGISTRY_ANONYMOUS": "none"}
    with serving(tmp_path, registry_env | settings) as client, capture_logs() as logged:
        assert ACTS["read"](client, bearer("badly-chosen")).status_code == 200
        codes = [
            ACTS["read"](client, bearer(f"{tokens.PREFIX}{n}" if n % 2 else str(n))).status_code for n in range(40)
        ]
        assert codes == [401] * 10 + [429] * 30
        waits = ACTS["read"](client, bearer("badly-chosen"))
        assert waits.status_code == 429
        assert 1 <= int(waits.headers["Retry-After"]) <= 6
        database = open_database(database_url(tmp_path, registry_env))
        assert ACTS["read"](client, bearer(tokens.create(database, "ci", ["read"], NOW))).status_code == 200
        database.close()
    assert 20 <= len([line for line in logged if line["event"] == "audit"]) < 30


def test_a_page_that_stays_open_locks_nobody_out(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """A browser whose token was revoked is told to forget it, and however often it asks, the token of the settings is
    heard from the same address; different guesses still count.
    """
    settings = {"RIVERMILL_REGISTRY_TOKEN": "badly-chosen", "RIVERMILL_REGISTRY_ANONYMOUS": "none"}
    stale = {"Cookie": f"{guards.COOKIE}=rvm_{'0' * 43}"}
    with serving(tmp_path, registry_env | settings) as client:
        for _ in range(30):
            refused = client.get("/", headers=stale)
            assert refused.status_code == 401
            assert refused.headers["Set-Cookie"].startswith(f"{guards.COOKIE}=; Path=/; Max-Age=0;")
        assert ACTS["read"](client, bearer("badly-chosen")).status_code == 200
        for number in range(9):
            assert ACTS["read"](client, bearer(f"guess {number}")).status_code == 401
        assert ACTS["read"](client, bearer("guess")).status_code == 429
        assert "Set-Cookie" not in client.get("/", headers=stale).headers


def test_who_asks_too_often_has_to_wait(
    tmp_path: Path, registry_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood is answered with 429 and how long to wait; what monitoring asks is answered all the same."""
    monkeypatch.setattr(guards, "_REQUESTS_A_SECOND", 0.01)  # few, however long a busy machine takes for these
    monkeypatch.setattr(guards, "_REQUESTS_AT_ONCE", 3)
    with serving(tmp_path, registry_env) as client:
        answers = [client.get("/schema") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
        assert 60 <= int(answers[-1].headers["Retry-After"]) <= 100
        assert all(client.get(path).status_code == 200 for path in ("/healthz", "/readyz", "/metrics"))


def test_the_limiter_forgets_no_recent_client_and_stays_small() -> None:
    """Tokens come back with time; of too many clients the one heard of longest ago is forgotten."""
    now = [0.0]
    limiter = Limiter(1.0, 2, lambda: now[0])
    for _ in range(2):
        assert limiter.wait_s("a") == 0
        limiter.take("a")
    assert limiter.wait_s("a") == 1
    now[0] = 1.0
    assert limiter.wait_s("a") == 0
    limiter.take("a")
    for client in range(5000):
        limiter.take(str(client))
    assert len(limiter._left) == 4096
    assert "a" not in limiter._left
    assert "4999" in limiter._left


def test_a_site_of_ipv6_is_one_client() -> None:
    """Who has 2^64 addresses gets no more attempts than who has one."""
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:0:1::1")
    assert client_of("192.0.2.1") != client_of("192.0.2.2")
    assert client_of("unix") == "unix"


def test_changes_and_refusals_are_audited_without_the_token(database: Database, closed: httpx.Client) -> None:
    """The log tells who did what from where and how it ended, refused attempts too, and never a token."""
    secret = tokens.create(database, "ci", ["publish"], NOW)
    with capture_logs() as logged:
        post(closed, "flights", b"x", headers=bearer(secret))
        ACTS["promote"](closed, bearer(secret))
        ACTS["read"](closed, bearer("a-guess-of-somebody"))
        ACTS["read"](closed, bearer(secret))
    lines = [line for line in logged if line["event"] == "audit"]
    path = "/api/v1/models/flights"
    assert [(it["who"], it["method"], it["path"], it["status"]) for it in lines] == [
        ("ci", "POST", f"{path}/versions", 201),
        ("ci", "PUT", f"{path}/aliases/champion", 403),
        (None, "GET", "/api/v1/models", 401),
    ]
    assert all(line["client"] == "127.0.0.1" for line in lines)
    assert not any(told in json.dumps(lines) for told in (secret, "a-guess-of-somebody", tokens.sha256(secret)))


def test_signing_in_is_audited_by_whose_token_it_was(database: Database, closed: httpx.Client) -> None:
    """Who signed in is told; who was wrong is nobody."""
    secret = tokens.create(database, "anna", ["read"], NOW)
    with capture_logs() as logged:
        for token in (secret, "a-guess-of-somebody"):
            closed.post("/sign-in", data={"token": token})
    assert [(it["who"], it["status"]) for it in logged if it["event"] == "audit"] == [
        ("anna", 303), ("anonymous", 401),
    ]  # fmt: skip


def test_what_is_open_without_a_token() -> None:
    """On loopback everything, or reading once there is a token; elsewhere nothing, unless the settings say so."""
    token = {"RIVERMILL_REGISTRY_TOKEN": "secret"}
    told = {"RIVERMILL_REGISTRY_ANONYMOUS": "read"}
    everywhere = "0.0.0.0"  # noqa: S104 - what is under test
    assert registry_settings({}).anonymous == tokens.SCOPES
    assert registry_settings(token).anonymous == ("read",)
    assert registry_settings({"RIVERMILL_REGISTRY_ANONYMOUS": ""}).anonymous == tokens.SCOPES
    assert registry_settings(token, host=everywhere).anonymous == ()
    assert registry_settings(token | told, host=everywhere).anonymous == ("read",)
    assert registry_settings({"RIVERMILL_REGISTRY_ANONYMOUS": "none"}, host=everywhere).anonymous == ()
    for wrong in ({}, {"RIVERMILL_REGISTRY_ANONYMOUS": "write"}, token | {"RIVERMILL_REGISTRY_ANONYMOUS": "write"}):
        with pytest.raises(SettingsError, match="anyone could promote"):
            registry_settings(wrong, host=everywhere)
    for wrong in ({"RIVERMILL_REGISTRY_ANONYMOUS": "all"}, {"RIVERMILL_REGISTRY_PROXIES": "10.0.0.1,proxy"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            registry_settings(wrong)


def test_the_command_makes_lists_and_revokes(
    tmp_path: Path, registry_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token of the command opens a registry that runs on the same folder, until the command revokes it."""
    lines: list[dict[str, object]] = []

    def told(*arguments: str) -> str:
        given = [*arguments, "--data-dir", str(tmp_path)]
        assert command(given, result_action="return_value", exit_on_error=False, print_error=False) == 0
        told = capsys.readouterr()
        lines.extend(json.loads(line) for line in told.err.splitlines())
        return told.out

    for name, value in registry_env.items():
        monkeypatch.setenv(name, value)
    with serving(tmp_path, registry_env | {"RIVERMILL_REGISTRY_ANONYMOUS": "none"}) as client:
        capsys.readouterr()
        secret = told("create", "ci", "--scope", "publish", "--scope", "promote").strip()
        assert len(secret) > 43
        assert post(client, "flights", b"x", headers=bearer(secret)).status_code == 201
        capsys.readouterr()
        (listed,) = json.loads(told("list", "--json"))
        assert (listed["name"], listed["scopes"]) == ("ci", ["publish", "promote"])
        assert listed["used_at"]
        assert "publish promote" in (shown := told("list"))
        assert secret not in shown
        assert "ci" in told("revoke", "ci")
        assert ACTS["read"](client, bearer(secret)).status_code == 401
    assert [(line["act"], line["token"]) for line in lines] == [
        ("a token is made, which cannot be shown again", "ci"),
        ("a token is revoked", "ci"),
    ]
    where = make_url(database_url(tmp_path, registry_env)).database
    assert all(line["event"] == "audit" and str(where) in str(line["database"]) for line in lines)
    assert not any(secret in json.dumps(line) for line in lines)
    for wrong in (("create", "A B", "--scope", "read"), ("revoke", "x")):
        with pytest.raises(SettingsError):
            told(*wrong)


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "anna"]])
def test_the_command_looks_for_tokens_only_where_a_registry_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """In the wrong folder, or on a database of something else, it says so and leaves nothing behind."""
    somebodys = sqlite3.connect(tmp_path / "of-somebody-else")
    somebodys.execute("CREATE TABLE orders (id INTEGER)")
    elsewhere = tmp_path / "elsewhere"
    for url in (None, f"sqlite:///{tmp_path / 'of-somebody-else'}"):
        if url is not None:
            monkeypatch.setenv("RIVERMILL_REGISTRY_DATABASE", url)
        with pytest.raises(SettingsError, match="no registry has ever run on"):
            command([*arguments, "--data-dir", str(elsewhere)], exit_on_error=False, print_error=False)
    assert not elsewhere.exists()
    assert somebodys.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]
    somebodys.close()
