"""The pages as any browser gets them, without scripts."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import httpx
import pytest

from services.domain import snapshot
from services.registry.database import Database
from services.registry.incidents import Incidents
from services.registry.plots import MOST_POINTS, drawing
from services.registry.static_files import FOLDER
from tests.databases import DATABASES, empty_database
from tests.unit.registry import lived
from tests.unit.registry.serving import digest, post, promote, serving

START = datetime(2026, 3, 1, tzinfo=UTC)
HTML = {"Accept": "text/html"}
SECRET = 'a;long,"secret"=%41\\'  # what a cookie must quote
PAGES = [
    "/", "/models/flights", "/models/flights/versions/1", "/models/flights/incidents", "/models/flights/fields",
    "/models/flights/decide?act=pin&version=1", "/sign-in", "/nowhere",
]  # fmt: skip


@pytest.fixture(scope="module", params=DATABASES)
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a registry with one version, which a whole module leaves as it is."""
    with empty_database(request.param, request) as env, serving(tmp_path_factory.mktemp("reading"), env) as connected:
        post(connected, "flights", b"x")
        yield connected
        assert [entry[2] for entry in log(connected)] == ["the first candidate"]


def form_of(client: httpx.Client, address: str) -> dict[str, str]:
    """The fields of the form that decides, as the page has them."""
    fields = re.findall(r'<input[^>]*name="(\w+)" value="([^"]*)"', client.get(address, headers=HTML).text)
    return {name: unescape(value) for name, value in fields}


def decide(client: httpx.Client, address: str, **changes: str) -> httpx.Response:
    return client.post("/models/flights/decide", data={**form_of(client, address), **changes}, headers=HTML)


def log(client: httpx.Client) -> list[tuple[str, int, str, str]]:
    items = client.get("/api/v1/models/flights/log").json()["items"]
    return [(item["alias"], item["version"], item["reason"], item["actor"]) for item in items]


def test_what_people_write_is_never_markup(client: httpx.Client) -> None:
    """Reasons and names of metrics are shown as they are, and nothing of them is run."""
    post(client, "flights", b"x", metrics={"auc": 0.7512, "<b>": 1.0})
    promote(client, "flights", "champion", 1, live=False, reason="<script>alert(1)</script>")
    for address in ("/models/flights", "/models/flights/versions/1"):
        text = client.get(address).text
        assert "0.7512" in text
        assert "<script>" not in text
        assert "<b>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in client.get("/models/flights").text


@pytest.mark.parametrize("address", PAGES)
def test_no_page_has_anything_inline_or_from_elsewhere(reading: httpx.Client, address: str) -> None:
    """Scripts and styles are files of this host: the policy forbids all else, and no page needs more."""
    answer = reading.get(address, headers=HTML)
    assert answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", answer.text)
    loaded = re.findall(r'(?:<script[^>]*?|<link[^>]*?|<img[^>]*?)(?:src|href)="([^"]*)"', answer.text)
    assert len(loaded) == 7
    for each in loaded:
        assert each.startswith("/static/")
        assert reading.get(each).status_code == 200
    assert all(re.search(r'src="/static/', tag) for tag in re.findall(r"<script[^>]*>", answer.text))


def test_files_are_cached_by_their_content(refusing: httpx.Client) -> None:
    """A file under its digest is kept for ever; under its bare name it is asked for again, and not sent twice."""
    address = re.findall(r'href="(/static/style.css[^"]*)"', refusing.get("/").text)[0]
    found = refusing.get(address)
    assert "immutable" in found.headers["Cache-Control"]
    assert found.headers["Content-Type"].startswith("text/css")
    bare = refusing.get("/static/style.css")
    assert bare.headers["Cache-Control"] == "no-cache"
    again = refusing.get("/static/style.css", headers={"If-None-Match": bare.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for absent in ("README.md", "..%2fapp.py", "nothing.js"):
        assert refusing.get(f"/static/{absent}").status_code == 404


def test_files_of_others_are_those_that_the_table_names() -> None:
    """Every file that is not ours stands in the table with its licence, and has the digest that it says."""
    table = re.findall(
        r"^\| `([^`]+)` \|.*\| (0BSD|MIT) \| `(\w{64})` \|$", (FOLDER / "README.md").read_text(), re.MULTILINE
    )
    ours = {"app.js", "style.css", "icon.svg", "README.md"}
    assert {name for name, *_ in table} == {path.name for path in FOLDER.iterdir()} - ours
    for name, _, expected in table:
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == expected, name


def test_a_decision_by_form_is_one_by_the_api(client: httpx.Client) -> None:
    """Promote, pin, roll back and release change what the champion names, and log who and why."""
    for offset, candidate in enumerate(("logistic", "sgd", "logistic")):
        post(client, "flights", b"%d" % offset, offset=offset, candidate=candidate)
    at = "/models/flights/decide?act="
    steps = [
        (f"{at}promote&version=2", 2, True), (f"{at}pin&version=1", 1, False), (f"{at}rollback", 2, False),
        (f"{at}release", 2, True),
    ]  # fmt: skip
    for number, (address, version, live) in enumerate(steps):
        done = decide(client, address, reason=f"reason {number}", name="Ada Byron")
        assert (done.status_code, done.headers["Location"]) == (303, "/models/flights#log")
        alias = client.get("/api/v1/models/flights").json()["aliases"]["champion"]
        assert (alias["version"], alias["live"]) == (version, live)
        assert ("champion", version, f"reason {number}", "Ada Byron") in log(client)
    verbs = re.findall(r"<strong>([a-z ]+)</strong></td><td>champion", client.get("/models/flights").text)
    assert verbs == ["released", "pinned", "rolled back", "promoted", "named first"]


def test_a_form_sent_twice_decides_once(client: httpx.Client) -> None:
    """The second of two equal forms is answered like the first and leaves no entry."""
    for offset in range(2):
        post(client, "flights", b"%d" % offset, offset=offset)
    form = form_of(client, "/models/flights/decide?act=pin&version=1") | {"reason": "audit"}
    answers = [client.post("/models/flights/decide", data=form).status_code for _ in range(2)]
    assert answers == [303, 303]
    assert [entry[2] for entry in log(client)].count("audit") == 1


def test_a_decision_on_what_has_changed_since_is_refused(client: httpx.Client) -> None:
    """Whoever decides on an old page changes nothing: the refusal says by whom it was changed, and keeps the reason."""
    for offset in range(3):
        post(client, "flights", b"%d" % offset, offset=offset)
    form = form_of(client, "/models/flights/decide?act=pin&version=1") | {"reason": "mine"}
    promote(client, "flights", "champion", 2, live=False, reason="theirs & only theirs")
    refused = client.post("/models/flights/decide", data=form, headers=HTML)
    assert refused.status_code == 409
    assert "theirs &amp; only theirs" in refused.text
    assert 'name="reason" value="mine"' in refused.text
    assert log(client)[0][1:3] == (2, "theirs & only theirs")
    seen = re.search(r'name="seen" value="(\d+)"', refused.text)
    assert seen
    assert client.post("/models/flights/decide", data=form | {"seen": seen[1]}).status_code == 303


def test_following_a_newer_version_outdates_no_page(client: httpx.Client) -> None:
    """A live alias that moved on by itself meanwhile does not make a decision stale."""
    post(client, "flights", b"0", offset=0)
    form = form_of(client, "/models/flights/decide?act=pin&version=1") | {"reason": "mine"}
    post(client, "flights", b"1", offset=1)
    assert client.post("/models/flights/decide", data=form).status_code == 303


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"reason": "  "}, 422, "a reason is missing"), ({"reason": "x" * 501}, 422, "500 characters"),
        ({"reason": "a\x00b"}, 422, "cannot be read"), ({"reason": "x" * 5000}, 422, "too long"),
        ({"version": "99"}, 404, "no version 99"), ({"version": "0"}, 422, "version"), ({"act": "burn"}, 422, "act"),
        ({"alias": "other"}, 422, "alias"), ({"alias": "challenger-x"}, 409, "candidate"),
        ({"more": "1"}, 422, "more"), ({"name": "<b>"}, 422, "is not a name"), ({"seen": "x"}, 422, "seen"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_granted_says_why(
    reading: httpx.Client, changes: dict[str, str], status: int, word: str
) -> None:
    """Whatever a form says, the answer is a page in words, and nothing was changed (the fixture looks)."""
    given = {"act": "pin", "alias": "champion", "version": "1", "seen": "9", "reason": "because"}
    refused = reading.post("/models/flights/decide", data=given | changes, headers=HTML)
    assert (refused.status_code, refused.headers["Content-Type"].partition(";")[0]) == (status, "text/html")
    assert word in unescape(refused.text)


def test_nothing_to_roll_back_to_is_told(reading: httpx.Client) -> None:
    """An alias that never named another version cannot be rolled back, and the page says what to do instead."""
    refused = reading.get("/models/flights/decide?act=rollback", headers=HTML)
    assert refused.status_code == 404
    assert "never named another version" in refused.text


def test_with_a_token_only_who_signed_in_decides(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """The token is kept in a cookie that scripts and other sites cannot use; without it the pages only show."""
    with serving(tmp_path, registry_env | {"RIVERMILL_REGISTRY_TOKEN": SECRET}) as client:
        bearer = {"Authorization": f"Bearer {SECRET}".encode()}
        client.headers.update(HTML)
        post(client, "flights", b"x", headers=bearer)  # type: ignore[arg-type]
        address = "/models/flights/decide?act=pin&version=1"
        form = {"act": "pin", "alias": "champion", "version": "1", "seen": "9", "reason": "because"}
        assert "<form" not in client.get(address).text.partition("<main")[2]
        assert client.post("/models/flights/decide", data=form).status_code == 401
        wrong = client.post("/sign-in", data={"token": "guess", "to": address})
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        right = client.post("/sign-in", data={"token": SECRET, "to": address})
        assert (right.status_code, right.headers["Location"]) == (303, address)
        cookie = right.headers["Set-Cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert all("Sign out" in client.get(each).text for each in ("/", "/nowhere"))
        done = decide(client, address, reason="because")
        assert (done.status_code, log(client)[0][2:]) == (303, ("because", "token"))
        client.post("/sign-out")
        assert client.post("/models/flights/decide", data=form).status_code == 401


def test_over_https_the_cookie_is_secure(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """Behind a proxy that speaks TLS the cookie never travels in the clear; only a proxy that is named is believed."""
    for proxies in ("127.0.0.1", "192.0.2.1", ""):
        with serving(
            tmp_path, registry_env | {"RIVERMILL_REGISTRY_TOKEN": SECRET, "RIVERMILL_REGISTRY_PROXIES": proxies}
        ) as client:
            answer = client.post("/sign-in", data={"token": SECRET}, headers={"X-Forwarded-Proto": "https"})
            assert ("Secure" in answer.headers["Set-Cookie"].split("; ")) == (proxies == "127.0.0.1")


def test_signing_in_leads_nowhere_else(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """A link to the sign-in page cannot send whoever follows it to another site, or to where no header can."""
    with serving(tmp_path, registry_env | {"RIVERMILL_REGISTRY_TOKEN": SECRET}) as client:
        for to in ("https://elsewhere", "//elsewhere", "/\\elsewhere", "/\r\nSet-Cookie: a=b", "/\N{EURO SIGN}", ""):
            assert client.post("/sign-in", data={"token": SECRET, "to": to}).headers["Location"] == "/", to


@pytest.mark.parametrize("path", ["/models/flights/decide", "/sign-in", "/sign-out"])
@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://elsewhere"},
                {"Origin": "null"}]
)  # fmt: skip
def test_forms_of_other_sites_are_refused(refusing: httpx.Client, path: str, headers: dict[str, str]) -> None:
    """A form that lies on another origin reaches nothing, also where browsers send no fetch metadata."""
    assert refusing.post(path, data={"act": "pin"}, headers=headers).status_code == 403
    own = {"Origin": str(refusing.base_url).rstrip("/")}
    assert refusing.post(path, data={"act": "pin"}, headers=own).status_code != 403


def test_versions_and_decisions_are_paged(client: httpx.Client) -> None:
    """A page shows so many, and the links lead through all of them."""
    for offset in range(60):
        post(client, "flights", b"%d" % offset, offset=offset)
    for number in range(30):
        promote(client, "flights", "champion", number % 2 + 1, live=False, reason=f"reason {number}")
    versions, reasons = set(), set()
    address: str | None = "/models/flights"
    while address is not None:
        text = client.get(address).text
        versions |= set(re.findall(r'id="v(\d+)"', text))
        further = re.search(r'id="older-versions" href="([^"]*)"', text)
        address = unescape(further[1]) if further else None
    assert len(versions) == 60
    for address in (
        "/models/flights",
        re.search(r'id="older-decisions" href="([^"]*)"', client.get("/models/flights").text)[1],
    ):  # type: ignore[index]
        reasons |= set(re.findall(r'<td class="t">(reason \d+)</td>', client.get(address).text))
    assert len(reasons) == 30


def test_plots_are_bounded_and_reach_the_newest_version(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long history is drawn by every second version or fewer, evenly, and always up to the newest."""
    assert MOST_POINTS == 400
    monkeypatch.setattr("services.registry.plots.MOST_POINTS", 7)
    for offset in range(20):
        post(client, "flights", b"%d" % offset, offset=offset, metrics={"auc": offset / 100})
    (plot,) = client.get("/models/flights/plots").json()["plots"]
    assert plot["metric"] == "auc"
    assert plot["lines"][0]["y"] == [0.01, 0.04, 0.07, 0.1, 0.13, 0.16, 0.19]


def test_plots_mark_incidents_and_decisions(client: httpx.Client, database: Database) -> None:
    """Each incident from when it was told until it was resolved, the newest first; each decision but the first naming."""
    for offset, candidate in enumerate(("logistic", "sgd")):
        post(client, "flights", b"%d" % offset, candidate=candidate, offset=offset)
    begun = time.time()
    promote(client, "flights", "champion", 2).raise_for_status()
    (decision,) = client.get("/models/flights/plots").json()["decisions"]
    assert begun - 1 <= decision.pop("x") <= time.time()
    assert decision == {"kind": "promoted", "text": "promoted: sgd 2", "until": None}
    incidents = Incidents()
    for hours, alert in enumerate(lived.alerts("flights")):
        incidents.take("flights", alert, START + timedelta(hours=hours))
    with database.reading() as session:
        found = drawing(session, "flights", incidents.of("flights"))
    assert [(mark.kind, mark.x, mark.until) for mark in found.incidents] == [
        ("critical", START.timestamp() + 7200, None), ("warning", START.timestamp(), START.timestamp() + 3600),
    ]  # fmt: skip
    assert len(found.decisions) == 1


def test_lineage_shows_what_changed_in_the_pipeline_file(client: httpx.Client) -> None:
    """A version under another spec than its parent's shows the difference line by line; later ones point to it."""
    specs = [b'{"rules":{"range":[0,%d]},"task":"binary"}' % top for top in (10, 20)]
    for body in specs:
        client.put(f"/api/v1/specs/{digest(body)[:16]}", content=body).raise_for_status()
    for offset, body in enumerate((specs[0], specs[1], specs[1])):
        post(client, "flights", b"%d" % offset, offset=10 * offset, spec=digest(body)[:16])
    changed = client.get("/models/flights/versions/2").text
    assert re.search(r'class="removed">. +10\n', changed)
    assert re.search(r'class="added">. +20\n', changed)
    assert "(0 to 10)" in changed
    assert "the same since" in client.get("/models/flights/versions/3").text
    assert "first version" in client.get("/models/flights/versions/1").text


def test_snapshots_are_opened_only_with_the_key(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """Without signing key no snapshot is opened; with it, one that it has not signed is not either."""
    key = "k" * 32
    signature = snapshot.sign(b"no snapshot", key.encode())
    for env, word in (({}, "no signing key"), ({"RIVERMILL_SIGNING_KEY": key}, "not a snapshot in a format")):
        with serving(tmp_path, registry_env | env) as client:
            post(client, "flights", b"no snapshot", offset=1, signature=signature)
            post(client, "flights", b"forged", offset=2)
            assert word in client.get("/models/flights/versions/1").text
            if env:
                assert "not signed" in client.get("/models/flights/versions/2").text


def test_refusals_are_pages_for_browsers_and_problems_for_programs(refusing: httpx.Client) -> None:
    """Who asks for a page gets the words as a page; the API never answers with one."""
    for address in ("/models/nothing", "/nowhere", "/?after=UPPER"):
        shown = refusing.get(address, headers=HTML)
        assert shown.headers["Content-Type"].startswith("text/html")
        told = refusing.get(address).json()
        assert shown.status_code == told["status"]
        assert told["title"].lower() in unescape(shown.text).lower()
    assert "json" in refusing.get("/api/v1/models/nothing", headers=HTML).headers["Content-Type"]


def test_pages_say_that_no_broker_is_set(reading: httpx.Client) -> None:
    """Without a broker the pages say what they cannot know."""
    for address in ("/", "/models/flights", "/models/flights/incidents"):
        assert "incidents and fields are not known here" in reading.get(address).text
    assert "scoring does not know of them yet" in reading.get("/").text


def test_pages_say_that_the_broker_is_away(tmp_path: Path, registry_env: dict[str, str]) -> None:
    """A broker that cannot be reached makes no page fail: it says that what it shows may be old."""
    with serving(tmp_path, registry_env | {"RIVERMILL_BROKER": "127.0.0.1:1"}) as client:
        post(client, "flights", b"x")
        for address in ("/", "/models/flights", "/models/flights/incidents", "/models/flights/fields"):
            assert "The broker is away" in client.get(address).text
