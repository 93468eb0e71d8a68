"""What aliases name, and what is remembered of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import msgspec
import pytest

from schemas.models import AliasRecord
from services.domain.registry_api import legible
from services.registry import metrics, outbox
from services.registry.blobs import Blobs
from services.registry.database import Database
from services.registry.publishing import publish
from tests.unit.registry.serving import manifest, post, promote

API = "/api/v1/models/flights"


def aliases(client: httpx.Client) -> dict[str, tuple[int, bool]]:
    found = client.get(API).json()["aliases"]
    return {name: (alias["version"], alias["live"]) for name, alias in found.items()}


def log(client: httpx.Client) -> list[tuple[str, int, bool]]:
    items = client.get(f"{API}/log").json()["items"]
    return [(item["alias"], item["version"], item["live"]) for item in reversed(items)]


def test_first_candidate_is_champion_and_others_challenge(client: httpx.Client) -> None:
    """The first version of a model makes its candidate champion; another candidate's first makes a challenger."""
    post(client, "flights", b"a")
    post(client, "flights", b"b", candidate="sgd")
    assert aliases(client) == {"champion": (1, True), "challenger-sgd": (2, True)}
    assert log(client) == [("champion", 1, True), ("challenger-sgd", 2, True)]


def test_live_alias_follows_without_an_entry(client: httpx.Client) -> None:
    """A live alias names each new version of its candidate, which the log does not mention and ``served`` knows."""
    post(client, "flights", b"a")
    post(client, "flights", b"b", offset=10)
    assert aliases(client) == {"champion": (2, True)}
    assert log(client) == [("champion", 1, True)]
    times = [item["at"] for item in reversed(client.get(f"{API}/versions").json()["items"])]
    served = [client.get(f"{API}/served", params={"at": at}).json()["aliases"] for at in times]
    assert [answer["champion"]["version"] for answer in served] == [1, 2]
    assert client.get(f"{API}/served", params={"at": "2020-01-01T00:00:00Z"}).json()["aliases"] == {}


def test_live_alias_does_not_follow_backwards(client: httpx.Client) -> None:
    """A version that has seen less than what an alias names does not move it."""
    post(client, "flights", b"a", offset=10)
    post(client, "flights", b"b", offset=5)
    assert aliases(client) == {"champion": (1, True)}
    post(client, "flights", b"c", offset=0, log_id="01999999-0000-7000-8000-000000000000")
    assert aliases(client) == {"champion": (3, True)}


def test_decisions_that_change_something_are_counted(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what they did and to which pipeline; said again they are none. Of too many pipelines the rest is one."""

    def counted() -> dict[tuple[str, str], float]:
        found = re.findall(
            r'^rivermill_registry_alias_decisions_total{pipeline="(\w+)",verb="([\w ]+)"} (\S+)$',
            client.get("/metrics").text,
            re.MULTILINE,
        )
        return {(pipeline, verb): float(count) for pipeline, verb, count in found}

    monkeypatch.setattr(metrics, "_MOST_PIPELINES", 2)
    monkeypatch.setattr(metrics, "_decided", set())
    for name in ("counted", "counted_too", "third"):
        post(client, name, b"1")
        post(client, name, b"2", offset=1)
        post(client, name, b"3", candidate="sgd")
    before = counted()
    for version, live in ((1, False), (2, False), (2, True), (3, True)):
        for _ in range(3):
            promote(client, "counted", "champion", version, live=live)
    decision = {"act": "pin", "version": "1", "reason": "a test", "alias": "champion"}
    for name in ("counted_too", "counted_too", "third"):
        assert client.post(f"/models/{name}/decide", data=decision).status_code == 303
    now = counted()
    assert {key: count - before.get(key, 0) for key, count in now.items() if count != before.get(key)} == {
        ("counted", "rolled back"): 1, ("counted", "pinned"): 1, ("counted", "released"): 1, ("counted", "promoted"): 1,
        ("counted_too", "rolled back"): 1, ("other", "rolled back"): 1,
    }  # fmt: skip


def test_pinned_alias_stays_until_released(client: httpx.Client) -> None:
    """A pinned alias names its version whatever is published; released, it names the newest at once."""
    post(client, "flights", b"a")
    post(client, "flights", b"b", offset=1)
    promote(client, "flights", "champion", 1, live=False, reason="worse since noon")
    post(client, "flights", b"c", offset=2)
    assert aliases(client) == {"champion": (1, False)}
    assert promote(client, "flights", "champion", 1, live=True).json()["version"] == 3
    assert log(client) == [("champion", 1, True), ("champion", 1, False), ("champion", 3, True)]


def test_promotion_turns_the_former_champion_into_a_challenger(client: httpx.Client) -> None:
    """Promoting another candidate keeps the former champion's candidate compared, and says who did it and why."""
    post(client, "flights", b"a")
    post(client, "flights", b"b", candidate="sgd")
    answer = client.put(
        f"{API}/aliases/champion", json={"version": 2, "reason": "better"}, headers={"X-Rivermill-Actor": "ann"}
    )
    assert answer.json()["version"] == 2
    assert aliases(client) == {"champion": (2, True), "challenger-logistic": (1, True), "challenger-sgd": (2, True)}
    entry = client.get(f"{API}/log").json()["items"][1]
    assert (entry["actor"], entry["reason"], entry["previous"]) == ("ann", "better", 1)
    post(client, "flights", b"c", candidate="sgd", offset=1)
    assert aliases(client)["champion"] == (3, True)


def test_what_is_already_so_changes_nothing(client: httpx.Client) -> None:
    """A repeated change, such as a retry whose first answer was lost, makes no second entry and no new revision."""
    post(client, "flights", b"a")
    first = promote(client, "flights", "champion", 1, live=False)
    again = promote(client, "flights", "champion", 1, live=False)
    assert again.json() == first.json()
    assert len(log(client)) == 2


def test_impossible_aliases_are_refused(client: httpx.Client) -> None:
    """An alias names only versions that exist, and a challenger's only its own candidate's."""
    post(client, "flights", b"a")
    assert promote(client, "flights", "champion", 9).status_code == 404
    assert promote(client, "taxis", "champion", 1).status_code == 404
    assert promote(client, "flights", "challenger-sgd", 1).status_code == 409
    assert promote(client, "flights", "best", 1).status_code == 400
    assert promote(client, "flights", "champion", 0).status_code == 400
    assert promote(client, "flights", "champion", 1, reason="x" * 501).status_code == 400
    assert promote(client, "flights", "champion", 1, extra=1).status_code == 400
    assert log(client) == [("champion", 1, True)]


def test_a_reason_can_be_read_and_stored(client: httpx.Client) -> None:
    """A blank reason, or one with control characters, is refused and changes nothing; any other line of text is kept."""
    post(client, "flights", b"a")
    for reason in ("", " ", "\u00a0\u200b", "a\0b", "\x00", "two\nlines", "\x1b[2J", "a\x85b", "a\u2028b"):
        refused = promote(client, "flights", "champion", 1, live=False, reason=reason)
        assert refused.status_code in {400, 422}, repr(reason)
    assert client.put(f"{API}/aliases/champion", json={"version": 1, "live": False}).status_code == 400
    assert log(client) == [("champion", 1, True)]
    assert not legible("\udcff")  # what a shell's byte becomes that is no UTF-8: JSON cannot hold it either
    kept = "schlechter seit Mittag 📉, “0.7 → 0.6”"
    assert promote(client, "flights", "champion", 1, live=False, reason=kept).json()["reason"] == kept


def test_outbox_holds_the_newest_record_of_each_alias(database: Database, blobs: Blobs) -> None:
    """Every change is queued with the version's digest under a growing revision, the newest of each alias only."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(3):
        snapshot = b"%d" % number
        new = manifest(snapshot, offset=number, candidate="sgd" if number == 1 else "logistic")
        publish(database, blobs, "flights", new, snapshot, actor="learner", now=at)
    queued = [msgspec.json.decode(row.record, type=AliasRecord) for row in outbox.waiting(database, "flights")]
    assert [(record.alias, record.revision, record.version, record.previous) for record in queued] == [
        ("challenger-sgd", 2, 2, None), ("champion", 3, 3, 1),
    ]  # fmt: skip
    assert queued[1].snapshot_sha256 == manifest(b"2").sha256
