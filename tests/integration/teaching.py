"""Standing in for cleaning and the learner: clean events, versions and live parameters made in the test itself."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from typing import Any

import msgspec

from schemas.alerts import Alert
from schemas.codec import encode
from schemas.events import CleanEvent, Value
from schemas.examples import Control, Example, Record
from schemas.predictions import ModelRef, Prediction
from services.domain import live, snapshot
from services.domain.registry_api import NewVersion, SetAlias, Version
from services.domain.spec import canonical
from services.learner.core.fold import Fold
from services.runtime import clients
from tests.integration.load import COLORS, START
from tests.integration.pipelines import KEY, Pipeline, send, until

LOG_ID = "01900000-0000-7000-8000-000000000000"


class Teacher:
    """Folds examples of its own making, publishes what it has learned, and asks for predictions.

    With ``teach`` false it only writes the examples and folds along with a real learner (:meth:`await_control`).
    """

    def __init__(self, pipeline: Pipeline, *, teach: bool = True) -> None:
        self.fold = Fold()
        self.versions: dict[str, int] = {}
        self.snapshots: dict[int, tuple[bytes, str]] = {}
        self._pipeline = pipeline
        self._deployment = pipeline.deployment
        self._random = random.Random(11)  # noqa: S311 - reproducible, no secret
        self._asked = 0
        self._control_at = -1
        if teach:
            self.fold.apply(Control(LOG_ID, self._deployment.spec_hash, canonical(self._deployment.spec)), 0)

    async def await_control(self) -> None:
        """Wait for the learner's next control record, and fold it."""
        log: list[Any] = []

        async def there() -> bool:
            decode = msgspec.json.Decoder(Record).decode
            log[:] = [(it.offset, decode(it.value)) for it in await self._pipeline.records("examples")]
            log[:] = [(at, record) for at, record in log if isinstance(record, Control) and at > self._control_at]
            return bool(log)

        await until(there, f"a control record; {self._pipeline.last_words('learner')}")
        self._control_at, record = log[0]
        self.fold.apply(record, self._control_at)

    async def send_examples(self, count: int, **features: Value) -> None:
        """Write examples as the join would, with these features, and fold them as the learner will."""
        producer = clients.idempotent_producer(self._deployment.settings)
        await producer.start()
        try:
            sent = [
                (example, await producer.send(self._deployment.topic("examples"), encode(example), key=b"taught"))
                for example in self.examples(count, **features)
            ]
            for example, future in sent:
                written = await future
                self.fold.apply(example, written.offset, written.timestamp)
        finally:
            await producer.stop()

    def examples(self, count: int, **features: Value) -> list[Example]:
        """Examples as the join would write them; ``features`` are the same in all of them."""
        made = [self._example(number) for number in range(count)]
        return [msgspec.structs.replace(it, features={**it.features, **features}) for it in made]

    def _example(self, number: int) -> Example:
        rng, spec = self._random, self._deployment.spec_hash
        x, at = rng.gauss(0, 1), START + timedelta(seconds=number)
        return Example(
            event_id=f"taught-{number}", time=at, label_time=at + timedelta(minutes=5),
            features={"x": x, "y": rng.uniform(-1, 1), "vip": rng.random() < 0.5, "color": rng.choice(COLORS)},
            encoded={"*": [rng.gauss(0, 1)], "color": [rng.gauss(0, 1)]}, label=x + rng.gauss(0, 0.5) > 0,
            score=rng.random(), model=ModelRef(self._deployment.name, "first", 1, 1), challengers=[], spec=spec,
        )  # fmt: skip

    def learn(self, count: int = 100) -> None:
        """Fold so many examples more."""
        for example in self.examples(count):
            self.fold.apply(example, self.fold.offset)

    async def publish(self, *, learned: int = 100) -> dict[str, Version]:
        """Learn a little, and publish a version of every candidate."""
        self.learn(learned)
        published = {}
        for taken in self.fold.snapshots():
            version = await self.publish_blob(taken.candidate, taken.blob)
            self.versions[taken.candidate] = version.version
            published[taken.candidate] = version
        return published

    async def publish_blob(self, candidate: str, blob: bytes, key: str = KEY) -> Version:
        """Publish these bytes as a version of a candidate."""
        manifest = NewVersion(
            candidate=candidate, spec=self._deployment.spec_hash, log_id=LOG_ID, examples_offset=self.fold.offset,
            sha256=hashlib.sha256(blob).hexdigest(), signature=snapshot.sign(blob, key.encode()),
        )  # fmt: skip
        async with self._pipeline.registry("learner") as registry:
            version = await registry.publish_version(self._deployment.name, manifest, blob)
        self.snapshots[version.version] = blob, version.signature
        return version

    def read(self, version: int) -> snapshot.Snapshot:
        """A published version, opened."""
        blob, signature = self.snapshots[version]
        return snapshot.read(blob, signature, [KEY.encode()])

    async def point(self, alias: str, version: int, *, live: bool = False, reason: str = "decided by a test") -> None:
        """Promote, pin, roll back or release, as a person would."""
        async with self._pipeline.registry("modeller") as registry:
            await registry.set_alias(self._deployment.name, alias, SetAlias(version, reason, live))

    async def send_live(self, key: str = KEY) -> int:
        """Publish live parameters of the fold as it stands; their examples offset."""
        parameters = self.fold.live(self.versions)
        assert parameters is not None
        await self._send("parameters", b"live", live.seal(parameters, key.encode()))
        return parameters.examples_offset

    async def _send(self, stream: str, key: bytes, value: bytes) -> None:
        producer = clients.idempotent_producer(self._deployment.settings)
        await producer.start()
        try:
            await producer.send_and_wait(self._deployment.topic(stream), value, key=key)
        finally:
            await producer.stop()

    async def send_decision(self, value: bytes) -> None:
        """Put a record on ``models`` past the registry."""
        await self._send("models", b"champion", value)

    async def predictions(self, count: int = 24) -> list[tuple[int, Prediction]]:
        """Ask for so many new predictions, and return each with its partition."""
        names = [f"asked-{self._asked + number}" for number in range(count)]
        self._asked += count
        rng = self._random
        events = [
            CleanEvent(name, START, {"x": rng.gauss(0, 1), "y": 0.5, "vip": True, "color": "red"}, [],
                       self._deployment.spec_hash)
            for name in names
        ]  # fmt: skip
        await send(
            self._deployment,
            self._deployment.topic("events.clean"),
            [(it.event_id.encode(), encode(it)) for it in events],
        )
        found: dict[str, tuple[int, Prediction]] = {}
        decode = msgspec.json.Decoder(Prediction).decode

        async def all_there() -> bool:
            for record in await self._pipeline.records("predictions"):
                found[record.key.decode()] = record.partition, decode(record.value)
            return found.keys() >= set(names)

        await until(all_there, "predictions of all that was asked")
        return [found[name] for name in names]

    async def served(self, version: int, *, encodings: int | None = None) -> list[Prediction]:
        """Ask until every partition predicts with this version of the champion; the first such predictions."""
        last: list[tuple[int, Prediction]] = []

        async def everywhere() -> bool:
            last[:] = await self.predictions()
            return {place for place, _ in last} == set(range(self._deployment.partitions)) and all(
                made.model.version == version and (encodings is None or made.encodings_offset == encodings)
                for _, made in last
            )

        await until(everywhere, f"version {version} served on every partition")
        return [made for _, made in last]

    async def compared(self, *challengers: str) -> list[Prediction]:
        """Ask until every partition compares the champion with just these challengers; the first such predictions."""
        last: list[tuple[int, Prediction]] = []

        async def everywhere() -> bool:
            last[:] = await self.predictions()
            return all({it.candidate for it in made.challengers} == {*challengers} for _, made in last)

        await until(everywhere, f"{challengers} compared on every partition")
        return [made for _, made in last]

    def score(self, version: int, made: Prediction) -> float:
        """What the snapshot of a version says to the features of a prediction."""
        part = self.read(version).part(version)
        return part.model.score(part.columns.row(made.features, made.encoded))

    async def alerts(self, signal: str) -> list[Alert]:
        """The alerts told of this signal so far."""
        return [alert for alert in await self._pipeline.decoded("alerts", Alert) if alert.signal == signal]
