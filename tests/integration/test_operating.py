"""docs/operating.md and docs/runbook.md on one pipeline, started by docs/own-topics.md with each service by itself."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from schemas.alerts import Alert
from schemas.predictions import Prediction
from services.cli.settle import take_account
from tests.integration.pipelines import Pipeline, fresh_name, send, until
from tests.integration.shop import SERVICES, Shop, keyed
from tests.pages import blocks
from tests.terminals import Terminal, checkout

OWN_TOPICS, OPERATING, RUNBOOK = "own-topics.md", "operating.md", "runbook.md"
MORE = """
[[model.candidates]]
name = "second"
model = "logistic_regression"
optimizer = "sgd"

[snapshots]
every_examples = 20
every = "1s"
"""
"""A challenger to promote, and versions soon enough for a test."""
SHOWN = {
    "check": r"in place",
    "deadletter": r"time_invalid",
    "models list": r"^champion: version",
    "models pin": r"of second exactly \(pinned\)",
    "models promote": r"of second and what its candidate learns",
    "models rollback": r"of logistic exactly \(pinned\)",
    "status": r"^Account",
    "tail alerts": r'"state":"opened"',
    "tail events.clean": r'"features":',
    "tail labels.clean": r'"label":',
    "tail outcomes": r'"state":"labelled"',
    "tail parameters": r'"candidates":\{"logistic"',
    "tail predictions": r'"score":',
}
"""What each command of the runbook has to print."""


def of(heading: str, page: str = OPERATING) -> list[str]:
    return [block for _, block in blocks(page, heading)]


_, SETTINGS, START = of("## 3. Run it", OWN_TOPICS)
COMMANDS = [
    *dict.fromkeys(
        line
        for block in (*(text for _, text in blocks(RUNBOOK)), *of("## Changing the pipeline file"))
        for line in block.splitlines()
    )
]


@pytest.fixture(scope="module")
def shop(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop with every service started by itself; one order that cannot be used, and live parameters that cannot."""
    (text,) = (block for _, block in blocks(OWN_TOPICS, kinds=["toml"]))
    text = text.replace('name = "orders"', f'name = "{fresh_name("orders")}"') + MORE
    folder = tmp_path_factory.mktemp("shop")
    path = checkout(folder / "checkout")
    for name in ("orders.toml", "P.toml", "running.toml"):
        (path / name).write_text(text, encoding="utf-8")
    (path / "new.toml").write_text(text.replace("every_examples = 20", "every_examples = 30"), encoding="utf-8")
    with Pipeline(folder, broker, text) as pipeline:
        url = pipeline.deployment.settings.registry_url
        with (
            Terminal(path, folder / "services", RIVERMILL_REGISTRY_URL=url) as terminal,
            Terminal(path, folder / "looks", RIVERMILL_REGISTRY_URL=url, RIVERMILL_BROKER=broker) as other,
        ):
            for each in (terminal, other):
                each.run(". .venv/bin/activate")
            started = Shop(path, terminal, other, pipeline)
            started.run(SETTINGS)
            started.run(START)
            asyncio.run(opened(started))
            yield started


async def opened(shop: Shop) -> None:
    await shop.ready(*SERVICES)
    deployment = shop.pipeline.deployment
    await send(deployment, deployment.events_topic, [keyed({"order_id": "A-1", "placed_at": "yesterday"})])
    await send(deployment, deployment.topic("parameters"), [(b"live", b"none")])
    await shop.sell(60)
    await shop.pipeline.settle()


def test_scaled_rekeyed_and_upgraded_nothing_is_lost_or_done_twice(shop: Shop) -> None:
    """A second process takes half of the lanes and gives them back; both signing keys are good until the old one is taken
    away, and then no more; whatever came in during that and the upgrade is predicted once and learned once.
    """

    async def scenario() -> None:
        await scaled(shop)
        await key_changed(shop)
        await upgraded(shop)
        await old_one_refused(shop)
        await shop.pipeline.settle()
        drawn = await take_account(shop.pipeline.deployment)
        assert drawn.balanced, drawn
        made_of = Counter(each.event_id for each in await shop.pipeline.decoded("predictions", Prediction))
        assert made_of == Counter(shop.sold)
        assert drawn.totals["train"]["examples"] == drawn.totals["join"]["labelled"] == len(shop.sold)

    asyncio.run(scenario())


async def scaled(shop: Shop) -> None:
    more, fewer = of("## Scaling")

    async def lanes(first: int, second: int) -> bool:
        return (await shop.lanes("scoring"), await shop.lanes("second")) == (first, second)

    shop.run(more)
    await shop.sell(60)
    await until(lambda: lanes(2, 2), "the lanes to be shared")
    await shop.sell(60)
    shop.run(fewer)
    await until(lambda: lanes(4, 0), "the lanes to come back")


async def key_changed(shop: Shop) -> None:
    """Scoring serves what either key has signed, and only what the new one has once the old one is taken away."""
    scoring, learner, _ = of("## Changing the signing key")
    shop.run(scoring)
    await shop.sell(60)
    await shop.ready("scoring")
    assert await shop.refused() == 0
    assert not await shop.signed()
    shop.run(learner)
    await shop.sell(60)
    await shop.ready("learner")

    await until(shop.signed, "versions signed with the new key")
    assert await shop.refused() == 0


async def upgraded(shop: Shop) -> None:
    """Stopped, installed and started, the previous key being taken away; orders come in meanwhile."""
    (stop,), (*_, forget) = of("## Upgrading"), of("## Changing the signing key")
    shop.run(forget)
    shop.run(stop)
    await shop.sell(60)
    shop.run(START)
    await shop.ready(*SERVICES)
    await shop.pipeline.settle()
    assert await shop.refused() == 0, "what the old key has signed lies in the topics, but newer records do, too"


async def old_one_refused(shop: Shop) -> None:
    """A version that the old key has signed is served no more: an alert says so."""

    async def told() -> int:
        alerts = await shop.pipeline.decoded("alerts", Alert)
        return sum(it.state == "opened" and "version 1 of logistic is refused" in it.summary for it in alerts)

    async def told_again() -> bool:
        return await told() > before

    before, served = await told(), await shop.measured("scoring", "rivermill_served_version")
    await shop.name(1, live=False)
    await until(told_again, "an alert about version 1")
    assert await shop.measured("scoring", "rivermill_served_version") >= served > 1
    await shop.name(1, live=True)


def what(command: str) -> str:
    """The key of ``SHOWN`` for a command."""
    return next(name for name in SHOWN if command.startswith(f"rivermill {name} "))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_runbook_shows_what_it_should(shop: Shop, command: str) -> None:
    """It ends with exit code 0, and has found the pipeline by nothing but the file and the environment."""
    if re.search(r"\b12\b", command):
        command = command.replace("12", str(asyncio.run(shop.newest("second"))))
    told = shop.look(command)
    assert re.search(SHOWN[what(command)], told, re.MULTILINE), told


def test_models_are_promoted_pinned_rolled_back_and_released(shop: Shop) -> None:
    """Each command says what is served then, the log has all four, and learning goes on with what was served before."""
    (block,) = of("## Models")
    asyncio.run(shop.name(asyncio.run(shop.newest("logistic")), live=True))
    told = shop.look(re.sub(r"\b12\b", str(asyncio.run(shop.newest("second"))), block))
    done = [("second", True), ("second", False), ("logistic", False), ("logistic", True)]
    ways = [f"of {name} {'and what its candidate learns' if live else 'exactly'}" for name, live in done]
    assert re.search(".*".join(ways), told, re.DOTALL), told
    with shop.bearing() as registry:
        newest = registry.get("/log", params={"limit": len(done)}).json()["items"]
    assert [(each["candidate"], each["live"]) for each in reversed(newest)] == done
    for each in newest:
        assert each["reason"] in block
        assert each["reason"].split()[0] in told.partition("actor")[2]


def test_a_dead_letter_is_shown_whole(shop: Shop) -> None:
    """The list says by which rule and where, and what lies there is the order as it came."""
    listing, show = of("## Dead letters")[0].splitlines()
    told = shop.look(listing)
    assert "time_invalid" in told
    place = re.search(r"\b\d/\d+\b", told)
    assert place
    assert '"placed_at":"yesterday"' in shop.look(show.replace("2/17", place[0])).replace(" ", "")


def test_the_doctor_finds_nothing_wrong(shop: Shop) -> None:
    """Asked where the services run, after all that was done to them."""
    (block,) = of("## Looking for what is wrong")
    told = shop.run(block)
    assert told.count("✓") > 10
    assert "✗" not in told


def test_with_tokens_everybody_may_do_what_they_are_for(shop: Shop) -> None:
    """Nobody is heard without one; the learner publishes by its own and scoring fetches by its own, neither promotes;
    who promotes by a token does so until it is revoked.
    """
    make, restart, revoke = of("## Who may use the registry")
    assert re.search(r"anna +publish promote", shop.look(make))
    before = asyncio.run(shop.newest("second"))
    shop.run(restart)

    def newest() -> int:
        with shop.bearing("anna.token") as registry:
            found = registry.get("/versions", params={"candidate": "second", "limit": 1}).raise_for_status().json()
        return int(found["items"][0]["version"])

    def promote(token: str) -> int:
        with shop.bearing(token) as registry:
            wanted = {"version": newest(), "live": False, "reason": "test"}
            return registry.put("/aliases/champion", json=wanted).status_code

    async def published() -> bool:
        return newest() > before

    async def served() -> bool:
        return await shop.measured("scoring", "rivermill_served_version") == newest()

    async def scenario() -> None:
        await shop.ready("learner", "scoring")
        await shop.sell(60)
        await until(published, "a version of the learner's")
        await shop.pipeline.settle()
        tokens = ("", "scoring.token", "learner.token", "anna.token")
        assert [promote(each) for each in tokens] == [401, 403, 403, 200]
        await until(served, "what was promoted to be served")

    asyncio.run(scenario())
    shop.look(revoke)
    with shop.bearing("anna.token") as registry:
        assert registry.get("/log").status_code == 401


def test_reset_begins_anew(shop: Shop) -> None:
    """All of its topics are gone, once its name was typed; started again it learns, and what it publishes is newer."""
    (block,) = of("## Reset")
    deployment, token = shop.pipeline.deployment, shop.token("scoring.token")
    before = asyncio.run(shop.newest("logistic", token))
    told = shop.answer(block, "Type the pipeline's name", deployment.name)
    assert f"Deleted {len(deployment.table())} topics" in told

    async def published() -> bool:
        async with shop.pipeline.registry(token=token) as registry:
            newest = (await registry.versions(deployment.name, candidate="logistic", limit=1)).items[0]
            named = {alias.version for alias in (await registry.aliases(deployment.name)).values()}
        return newest.version > before and newest.examples_offset > 20 and newest.version in named

    async def scenario() -> None:
        shop.run(START)
        await shop.ready(*SERVICES)
        await shop.sell(60)
        await until(published, "a version that has learned again to be named")
        drawn = await shop.pipeline.settle()
        assert drawn.totals["join"]["labelled"] == 60

    asyncio.run(scenario())
