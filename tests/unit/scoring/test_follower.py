"""The follower over a real cache of snapshots; no registry is needed for what is in the cache."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from schemas.alerts import Alert, Position
from schemas.codec import encode
from schemas.models import AliasRecord
from services.domain import live, snapshot
from services.domain.served import Served
from services.learner.core.fold import Fold
from services.registry import tokens
from services.registry.database import open_database
from services.registry.tables import TokenRow
from services.runtime.metrics import STALENESS_SECONDS
from services.runtime.registry_client import RegistryClient
from services.runtime.settings import SettingsError
from services.runtime.snapshots import SnapshotCache
from services.scoring import follower as following_module
from services.scoring.follower import Follower, NoChampionError
from tests.unit.registry.serving import post, serving
from tests.unit.stream import LOG_ID, control, examples, spec

KEY, OTHER = b"the-learner's-own-key", b"somebody-else's-key!!"
SECRET = "the-registrys-own-token"


def taught(labels: int = 100) -> Fold:
    fold = Fold()
    fold.apply(control(spec()), 0)
    for offset, example in enumerate(examples(labels), 1):
        fold.apply(example, offset, 1000 * offset)
    return fold


def following(
    folder: Path,
    scenario: Callable[[Follower, SnapshotCache], Awaitable[None]],
    url: str = "http://127.0.0.1:1",
    token: str | None = None,
) -> None:
    async def run() -> None:
        client = RegistryClient(url, token=token, attempts=1)
        cache = SnapshotCache(folder, client)
        follower = Follower("flights", (KEY,), cache)
        task = asyncio.create_task(follower.run())
        try:
            async with asyncio.timeout(20):
                await scenario(follower, cache)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()

    asyncio.run(run())


async def champion(
    cache: SnapshotCache, key: bytes, version: int = 1, *, live: bool = False, name: str = "flights"
) -> bytes:
    """A decision for the first candidate's snapshot at offset 101 + ``version``, signed with ``key``."""
    taken = taught(100 + version).snapshots()[0]
    sha256 = await cache.put(taken.blob)
    record = AliasRecord(
        alias="champion", revision=version, name=name, candidate=taken.candidate, version=version, live=live,
        snapshot_sha256=sha256, signature=snapshot.sign(taken.blob, key), size=len(taken.blob), spec="0" * 16,
        log_id=LOG_ID, examples_offset=101 + version, previous=None, actor="test", reason="", at=datetime(2013, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    return encode(record)


def parameters(key: bytes, labels: int = 100) -> bytes:
    """Live parameters at offset 1 + ``labels``, signed with ``key``."""
    fold = taught(labels)
    built = fold.live(dict.fromkeys(fold.learners, 1))
    assert built is not None
    return live.seal(built, key)


async def served_at(follower: Follower, offset: int) -> Served:
    """What is served as soon as the champion is the one at this offset of the examples."""
    await follower.ready()
    while (served := follower.served) is None or served.champion.ref.examples_offset != offset:  # noqa: ASYNC110 - it happens in the follower
        await asyncio.sleep(0.01)
    return served


def snapshot_of(folder: Path, decision: bytes) -> Path:
    return folder / msgspec.json.decode(decision, type=AliasRecord).snapshot_sha256


def in_the_registry_alone(folder: Path, decision: bytes) -> bytes:
    """The decision, whose snapshot is in the cache no more."""
    snapshot_of(folder, decision).unlink()
    return decision


def closed_registry(folder: Path) -> AbstractContextManager[httpx.Client]:
    """A registry that answers nobody without a token."""
    return serving(folder, {"RIVERMILL_REGISTRY_TOKEN": SECRET, "RIVERMILL_REGISTRY_ANONYMOUS": "none"})


def told(follower: Follower) -> list[Alert]:
    """The alerts since the last call, which are committed herewith."""
    alerts = follower.refusals.take()
    follower.refusals.told(alerts)
    return [msgspec.json.decode(it.out.value or b"", type=Alert) for it in alerts]


async def soon_told(follower: Follower) -> list[Alert]:
    while not (alerts := told(follower)):  # noqa: ASYNC110 - it happens in the follower
        await asyncio.sleep(0.01)
    return alerts


def test_a_champion_in_the_cache_is_served_without_a_registry(tmp_path: Path) -> None:
    """What the cache holds is verified and served, though the registry cannot be reached."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(await champion(cache, KEY), 0)
        await follower.ready()
        assert follower.served is not None
        assert follower.served.champion.ref.version == 1

    following(tmp_path, scenario)


def test_staleness_is_the_age_of_the_champion_itself(tmp_path: Path) -> None:
    """Unknown until a champion serves; then its own snapshot's, without live parameters and beside newer ones if pinned."""

    def staleness() -> float:
        (metric,) = STALENESS_SECONDS.collect()
        return metric.samples[0].value

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        assert math.isnan(staleness())
        since = time.time() - taught(101).label_came_in_ms / 1000
        await follower.on_decision(await champion(cache, KEY), 0)
        await follower.ready()
        assert staleness() == pytest.approx(since, abs=20)
        fold = taught(150)
        built = fold.live(dict.fromkeys(fold.learners, 1))
        assert built is not None
        built.label_came_in_ms = time.time_ns() // 1_000_000
        await follower.on_parameters(live.seal(built, KEY), 1)
        assert staleness() == pytest.approx(since, abs=20), "the champion is pinned: it has learned nothing since"
        await follower.on_decision(await champion(cache, KEY, 2, live=True), 2)
        await follower.on_parameters(live.seal(msgspec.structs.replace(built, examples_offset=500), KEY), 3)
        assert staleness() == pytest.approx(0, abs=20)

    following(tmp_path, scenario)


def test_another_signing_key_is_told_as_what_it_is(tmp_path: Path) -> None:
    """With a champion signed by another key and nothing else to serve, waiting ends with an error that names the key."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(await champion(cache, OTHER), 0)
        with pytest.raises(NoChampionError, match="RIVERMILL_SIGNING_KEY"):
            await follower.ready()

    following(tmp_path, scenario)


def test_a_version_that_is_named_again_is_judged_again(tmp_path: Path) -> None:
    """Whoever goes back to a version that was refused is told so once more: the decision is not dropped in silence."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        good, bad = await champion(cache, KEY, 2), await champion(cache, OTHER)
        await follower.on_decision(good, 0)
        await served_at(follower, 103)
        for revision, (decision, state) in enumerate(((bad, "opened"), (good, "resolved"), (bad, "opened")), 3):
            record = msgspec.json.decode(decision, type=AliasRecord)
            await follower.on_decision(encode(msgspec.structs.replace(record, revision=revision)), revision)
            assert [alert.state for alert in await soon_told(follower)] == [state]
            assert (await served_at(follower, 103)).champion.ref.version == 2

    following(tmp_path, scenario)


def test_a_decision_that_was_followed_by_another_is_not_judged(tmp_path: Path) -> None:
    """What lies before the newest decision in `models` may be signed with a key that is long gone: nothing is told of it."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        old, new = await champion(cache, OTHER), await champion(cache, KEY, 2)
        await follower.on_decision(old, 0)
        for _ in range(5):  # it has begun to load
            await asyncio.sleep(0)
        await follower.on_decision(new, 1)
        assert (await served_at(follower, 103)).champion.ref.version == 2
        assert told(follower) == []

    following(tmp_path, scenario)


def test_of_what_lay_in_the_topics_at_the_start_the_newest_alone_is_judged(tmp_path: Path) -> None:
    """However long the newest decision takes to come, what was decided before it is not loaded; old parameters are passed
    over in silence, unless they can be served.
    """

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(await champion(cache, OTHER), 0, behind=True)
        await follower.on_decision(b"{", 1, behind=True)
        await follower.on_parameters(parameters(OTHER, 50), 0, behind=True)
        await follower.on_parameters(b"{", 1, behind=True)
        await follower.on_parameters(parameters(KEY), 2, behind=True)
        await asyncio.sleep(0.2)
        assert told(follower) == []
        await follower.on_decision(await champion(cache, KEY, 2, live=True), 2)
        assert (await served_at(follower, 103)).champion.ref.version == 2
        assert told(follower) == []
        await follower.on_parameters(parameters(OTHER, 120), 3)
        (opened,) = told(follower)
        assert (opened.state, opened.position) == ("opened", Position("flights.parameters", 0, 3))

    following(tmp_path, scenario)


def test_a_newest_decision_that_cannot_be_read_does_not_hide_those_before(tmp_path: Path) -> None:
    """It is told, and what was decided before it is served."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(await champion(cache, KEY), 0, behind=True)
        await follower.on_decision(b"{", 1)
        await served_at(follower, 102)
        (opened,) = told(follower)
        assert (opened.signal, opened.position.offset) == ("models", 1)

    following(tmp_path, scenario)


@pytest.mark.parametrize("live", [False, True])
def test_a_token_that_gets_no_champion_ends_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, live: bool
) -> None:
    """With nothing to serve and a wrong token, waiting ends with a wrong setting, in the registry's own words."""
    monkeypatch.setattr(following_module, "_LIVE_WITHIN_S", 0.1)

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(in_the_registry_alone(tmp_path, await champion(cache, KEY, live=live)), 0)
        with pytest.raises(SettingsError, match=r"the token is wrong.*RIVERMILL_REGISTRY_TOKEN"):
            await follower.ready()

    with closed_registry(tmp_path / "registry") as client:
        following(tmp_path, scenario, str(client.base_url), "not the token")


def test_live_state_is_served_though_the_token_is_wrong(tmp_path: Path) -> None:
    """A live champion waits for live parameters before a wrong token ends scoring; what is wrong is told all the same."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(in_the_registry_alone(tmp_path, await champion(cache, KEY, live=True)), 0)
        waiting = asyncio.create_task(follower.ready())
        (opened,) = await soon_told(follower)
        assert "the token is wrong" in opened.summary
        await asyncio.sleep(0.1)
        await follower.on_parameters(parameters(KEY), 0)
        await waiting
        await served_at(follower, 101)

    with closed_registry(tmp_path / "registry") as client:
        following(tmp_path, scenario, str(client.base_url), "not the token")


def test_a_version_is_served_once_the_registry_lets_us_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version refused for its reader's token is asked for again, and the incident ends when it comes."""
    monkeypatch.setattr(following_module, "_REFUSED_RETRY_S", 0.1)
    with closed_registry(tmp_path / "registry") as client:
        database = open_database(f"sqlite:///{tmp_path / 'registry' / 'registry' / 'registry.sqlite'}")
        token = tokens.create(database, "scoring", [], datetime.now(UTC))
        tokens.revoke(database, "scoring", datetime.now(UTC))

        async def scenario(follower: Follower, cache: SnapshotCache) -> None:
            await follower.on_decision(await champion(cache, KEY), 0)
            await served_at(follower, 102)
            decision = await champion(cache, KEY, 2)
            headers = {"Authorization": f"Bearer {SECRET}"}
            for offset, blob in enumerate((b"version 1", snapshot_of(tmp_path, decision).read_bytes())):
                post(client, "flights", blob, headers, offset=offset).raise_for_status()
            await follower.on_decision(in_the_registry_alone(tmp_path, decision), 1)
            (opened,) = await soon_told(follower)
            assert (opened.state, opened.signal) == ("opened", "champion/2")
            await served_at(follower, 102)
            with database.writing() as session:
                row = session.get(TokenRow, "scoring")
                assert row is not None
                row.revoked_at = None
            await served_at(follower, 103)
            (resolved,) = await soon_told(follower)
            assert (resolved.state, resolved.incident_id) == ("resolved", opened.incident_id)

        following(tmp_path, scenario, str(client.base_url), token)
        database.close()


def test_refused_live_parameters_are_an_incident_that_ends(tmp_path: Path) -> None:
    """Parameters under another key open an incident; good ones resolve it, and a second episode has its own id."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:  # noqa: ARG001 - no snapshot is needed
        await follower.on_parameters(parameters(OTHER), 7)
        await follower.on_parameters(parameters(OTHER), 8)
        (opened,) = told(follower)
        assert (opened.state, opened.position.offset) == ("opened", 7)
        await follower.on_parameters(parameters(KEY), 9)
        (resolved,) = told(follower)
        assert (resolved.state, resolved.incident_id) == ("resolved", opened.incident_id)
        assert resolved.position == Position("flights.parameters", 0, 9)
        await follower.on_parameters(parameters(OTHER), 10)
        (again,) = told(follower)
        assert again.incident_id != opened.incident_id

    following(tmp_path, scenario)


def test_an_unreadable_decision_is_an_incident_that_ends(tmp_path: Path) -> None:
    """However many records of models cannot be read, they are one incident, until the next one that can; then it is over."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(b"{", 5)
        await follower.on_decision(b"[", 6)
        (opened,) = told(follower)
        assert (opened.state, opened.signal, opened.position.offset) == ("opened", "models", 5)
        await follower.on_decision(await champion(cache, KEY), 7)
        (resolved,) = told(follower)
        assert (resolved.state, resolved.incident_id) == ("resolved", opened.incident_id)
        assert resolved.position == Position("flights.models", 0, 7)
        assert not follower.refusals.standing()
        await follower.on_decision(b"{", 8)
        (again,) = told(follower)
        assert again.incident_id != opened.incident_id

    following(tmp_path, scenario)


def test_a_refused_version_is_told_with_the_decision_that_named_it(tmp_path: Path) -> None:
    """The alert of a refused version, and the one that resolves it, carry the offsets of their records of models."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(await champion(cache, OTHER), 4)
        with pytest.raises(NoChampionError):
            await follower.ready()
        (opened,) = told(follower)
        assert (opened.state, opened.position) == ("opened", Position("flights.models", 0, 4))
        await follower.on_decision(await champion(cache, KEY, 2), 6)
        (resolved,) = await soon_told(follower)
        assert (resolved.incident_id, resolved.state) == (opened.incident_id, "resolved")
        assert resolved.position == Position("flights.models", 0, 6)

    following(tmp_path, scenario)


def test_versions_are_followed_where_live_parameters_have_ceased(tmp_path: Path) -> None:
    """A live alias is served from its versions once they have seen more, and from live parameters that are newer again."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(await champion(cache, KEY, live=True), 0)
        await follower.on_parameters(parameters(KEY), 0)
        await served_at(follower, 102)
        for version in (9, 20):
            await follower.on_decision(await champion(cache, KEY, version, live=True), version)
            served = await served_at(follower, 101 + version)
            assert (served.champion.ref.version, served.encodings_offset) == (version, 101 + version)
        await follower.on_parameters(parameters(KEY, 110), 1)
        assert (await served_at(follower, 121)).encodings_offset == 121
        await follower.on_parameters(parameters(KEY, 130), 2)
        assert (await served_at(follower, 131)).encodings_offset == 131

    following(tmp_path, scenario)


def test_encodings_that_come_alone_are_served(tmp_path: Path) -> None:
    """Beside a pinned champion; and beside a live one's last parameters, until there is a version that has seen more."""

    def encodings(labels: int) -> bytes:
        built = taught(labels).live({})
        assert built is not None
        return live.seal(built, KEY)

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        await follower.on_decision(await champion(cache, KEY), 0)
        await served_at(follower, 102)
        await follower.on_parameters(encodings(105), 0)
        assert (await served_at(follower, 102)).encodings_offset == 106
        await follower.on_decision(await champion(cache, KEY, 2, live=True), 1)
        await follower.on_parameters(parameters(KEY, 110), 1)
        assert (await served_at(follower, 111)).encodings_offset == 111
        await follower.on_parameters(encodings(115), 2)
        assert (await served_at(follower, 111)).encodings_offset == 116
        await follower.on_decision(await champion(cache, KEY, 12, live=True), 2)
        assert (await served_at(follower, 113)).encodings_offset == 116

    following(tmp_path, scenario)


def test_a_version_that_cannot_be_had_yet_leaves_the_newest_state_serving(tmp_path: Path) -> None:
    """Until the registry is back, neither an older live state comes back nor nothing at all is served."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:
        decision = in_the_registry_alone(tmp_path, await champion(cache, KEY, 20, live=True))
        missing = msgspec.json.decode(decision, type=AliasRecord)
        await follower.on_parameters(parameters(KEY), 0)
        await follower.on_decision(decision, 0)
        await served_at(follower, 101)
        await follower.on_decision(await champion(cache, KEY, 21, live=True), 1)
        await served_at(follower, 122)
        later = msgspec.structs.replace(missing, revision=22, examples_offset=130)
        generation = follower.generation
        await follower.on_decision(encode(later), 2)
        while follower.generation == generation:  # noqa: ASYNC110 - it happens in the follower
            await asyncio.sleep(0.01)
        await served_at(follower, 122)

    following(tmp_path, scenario)


@pytest.mark.parametrize("value", [b"", b"{", b"[" * 100_000, b"\xff", b"null"])
def test_no_control_record_ends_the_follower(tmp_path: Path, value: bytes) -> None:
    """A control record that cannot be read is refused and told, whatever its bytes."""

    async def scenario(follower: Follower, cache: SnapshotCache) -> None:  # noqa: ARG001 - no snapshot is needed
        await follower.on_decision(value, 1)
        await follower.on_parameters(value, 2)
        alerts = told(follower)
        assert {alert.state for alert in alerts} == {"opened"}
        assert [alert.position for alert in alerts] == [
            Position("flights.models", 0, 1), Position("flights.parameters", 0, 2),
        ]  # fmt: skip

    following(tmp_path, scenario)


def test_a_version_that_is_used_stays_in_the_cache(tmp_path: Path) -> None:
    """Of more snapshots than the cache keeps, the one that is read again and again is not the one that goes."""

    async def run() -> None:
        client = RegistryClient("http://127.0.0.1:1", attempts=1)
        cache = SnapshotCache(tmp_path, client)
        pinned = await cache.put(b"pinned")
        for number in range(100):
            await cache.put(b"version %d" % number)
            assert await cache.get("flights", 1, pinned) == b"pinned"
        await client.close()

    asyncio.run(run())
    assert len(list(tmp_path.iterdir())) <= 64


def test_a_cache_that_cannot_be_written_refuses_no_snapshot(tmp_path: Path) -> None:
    """A full or unwritable disk costs a fetch later, not the process."""
    folder = tmp_path / "cache"
    folder.write_bytes(b"a file stands in its way")

    async def run() -> str:
        client = RegistryClient("http://127.0.0.1:1", attempts=1)
        sha256 = await SnapshotCache(folder, client).put(b"version 1")
        await client.close()
        return sha256

    assert asyncio.run(run()) == hashlib.sha256(b"version 1").hexdigest()
