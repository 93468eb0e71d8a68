"""Training on its lane: live parameters, versions published beside the fold, and restarts from the last snapshots."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec
import structlog

from schemas.codec import encode
from schemas.examples import Control
from schemas.parameters import LiveParameters
from schemas.state import Checkpoint
from services.domain import live, snapshot
from services.domain.records import Incoming, Out, Output, Standing
from services.domain.registry_api import NewVersion
from services.domain.signing import SignatureError
from services.domain.spec import canonical
from services.learner.core.fold import Fold, Taken
from services.learner.core.train import Train
from services.learner.core.uuid7 import RANDOM_BITS, uuid7
from services.runtime import history, metrics, readback
from services.runtime.launch import Deployment
from services.runtime.registry_client import NoRegistry, RegistryClient, RegistryError, RegistryUnavailable
from services.runtime.settings import SettingsError
from services.runtime.snapshots import SnapshotCache
from services.runtime.stage import Driver

_T = TypeVar("_T")
_RETRY_S = 2.0
_REFOLD_CHUNK = 200
_LABELS = 200
_MEASURED_EVERY_MS = 1000
_UNUSABLE = "a candidate of the pipeline file cannot be used ({}): correct [[model.candidates]]; nothing was written to the examples"
_ANOTHER_KEY = (
    "the last snapshots are signed neither with RIVERMILL_SIGNING_KEY nor with RIVERMILL_SIGNING_KEY_PREVIOUS, and scoring would "
    "refuse what is signed with another key: set RIVERMILL_SIGNING_KEY_PREVIOUS to the key before. If that is lost, give "
    "scoring the new one too, and start the learner with --refold: it folds the examples from the log's start"
)
_log = structlog.get_logger()


class Kept(msgspec.Struct):
    """One published snapshot, as the checkpoint remembers it."""

    version: int
    sha256: str
    signature: str


class Data(msgspec.Struct):
    """The stage's own part of its checkpoint: the newest complete set of snapshots, one a candidate."""

    snapshots: dict[str, Kept] = {}


_DATA = msgspec.json.Decoder(Data)


class TrainDriver(Driver):
    """Drives :class:`Train`: what is due is asked of the core, what is sent or uploaded is done here.

    Uploads run beside the fold, one set at a time; a registry that is away delays versions, never learning.
    """

    core: Train
    idle_every_ms = 20  # live parameters are due at any time

    def __init__(self, core: Train, deployment: Deployment, client: RegistryClient, cache: SnapshotCache) -> None:
        super().__init__(core)
        self._deployment = deployment
        self._client = client
        self._cache = cache
        self._data = Data()
        self._upload: asyncio.Task[tuple[int, dict[str, Kept]]] | None = None
        self._examples = deployment.topic("examples")
        self._watcher = readback.Watcher(deployment.settings)
        self._barrier: int | None = None
        self._measured_at = 0
        self._came_in: list[int] = []

    def process(self, batch: Sequence[Incoming], now: int) -> Output:
        """Fold the batch; live parameters that are due travel in the same transaction."""
        output = self.core.process(batch, now)
        self._came_in.extend(record.timestamp for record in batch[-_LABELS:])
        self._add_live(output, now)
        self._measure(now)
        return output

    async def idle(self, now: int, positions: Mapping[str, int]) -> Output | None:
        """A control record if one is due, versions and live parameters if they are."""
        output = Output()
        finished = await self._versions(now)
        if await self._caught_up(positions) and (control := self._control(now)) is not None:
            output = self.core.change(control, now)
            self._barrier = None
        self._measure(now)
        self._add_live(output, now)
        return output if output.sends or finished else None

    async def _caught_up(self, positions: Mapping[str, int]) -> bool:
        """Whether the log has been read up to its high watermark at the start and after our last control record.

        Whoever writes the next one thus knows what the log says already.
        """
        if self._barrier is None:
            _, self._barrier = await self._watcher.bounds(self._examples, 0)
        return positions[self._examples] >= self._barrier

    def _control(self, now: int) -> Control | None:
        """Our pipeline file if the log lacks it; else the withdrawal of candidates that cannot go on."""
        spec = self._deployment.spec
        if not self.core.control_due(self._deployment.spec_hash):
            return self._withdrawal()
        history.require_allowed(self.core.fold.spec, spec)
        record = Control(uuid7(now, secrets.randbits(RANDOM_BITS)), self._deployment.spec_hash, canonical(spec))
        rehearse(record)
        _log.info("control record", spec=record.spec)
        return record

    def _withdrawal(self) -> Control | None:
        record = self.core.fold.withdrawal()
        for it in record.withdrawn if record else ():
            _log.error(
                "candidate withdrawn", candidate=it.candidate, examples_offset=it.examples_offset, cause=it.cause
            )
        return record

    def _add_live(self, output: Output, now: int) -> None:
        if not self.core.live_due(now):
            return
        parameters = self.core.live()
        if parameters is None:
            return
        came_in, self._came_in = self._came_in[-_LABELS:], []
        value = self._sealed(parameters, came_in)
        metrics.LIVE_BYTES.set(len(value))
        fits = self.core.live_published(len(value), parameters.examples_offset, now)
        for name in self.core.fold.learners:
            metrics.LIVE_WITHHELD.labels(name).set(name not in parameters.candidates or not fits)
        if not fits and (parameters := self.core.encodings()) is not None:
            value = self._sealed(parameters, came_in)
        if len(value) <= live.MAX_BYTES:
            output.to("parameters", 0).append(Out(b"live", value, now))

    def _sealed(self, parameters: LiveParameters, came_in: list[int]) -> bytes:
        parameters.labels_came_in_ms = came_in
        return live.seal(parameters, self._deployment.settings.signing_keys[0])

    async def _versions(self, now: int) -> bool:
        """Take and upload snapshots when they are due; True when a set has been published since the last time."""
        if self._upload is not None:
            if not self._upload.done():
                return False
            upload, self._upload = self._upload, None
            examples, kept = upload.result()
            self._data = Data(kept)
            self.core.published({name: it.version for name, it in kept.items()}, examples, now, _name(kept))
            for name in kept:
                metrics.VERSIONS.labels(name).inc()
            return True
        if self.core.versions_due(now):
            taken = self.core.fold.snapshots()
            control = self.core.fold.control
            if taken and control is not None:
                self._upload = asyncio.create_task(
                    self._publish(taken, control, self.core.fold.offset, self.core.fold.examples),
                    name="publish versions",
                )
        return False

    async def _publish(
        self, taken: Sequence[Taken], control: Control, offset: int, examples: int
    ) -> tuple[int, dict[str, Kept]]:
        """Upload one set in the candidates' order (the first becomes champion); tries until the registry takes it."""
        kept = {}
        key = self._deployment.settings.signing_keys[0]
        await _taken(partial(self._client.put_spec, control.spec, control.pipeline))
        for it in taken:
            sha256 = await self._cache.put(it.blob)
            manifest = NewVersion(
                candidate=it.candidate, spec=control.spec, log_id=control.log_id, examples_offset=offset, sha256=sha256,
                signature=snapshot.sign(it.blob, key), metrics=dict(it.metrics),
                keep=self._deployment.spec.snapshots.keep,
            )  # fmt: skip
            version = await _taken(partial(self._client.publish_version, self._deployment.name, manifest, it.blob))
            kept[it.candidate] = Kept(version.version, version.sha256, version.signature)
        return examples, kept

    def standing(self) -> Standing:
        """The core's, and which snapshots to restore from."""
        standing = self.core.standing()
        standing.data = encode(self._data)
        return standing

    def restored(self, data: Data) -> None:
        """The checkpoint's own part, after a restart."""
        self._data = data

    def _measure(self, now: int) -> None:
        """Report the prequential metrics and who is withdrawn, at most once a second."""
        if now - self._measured_at < _MEASURED_EVERY_MS:
            return
        self._measured_at = now
        metrics.PREQUENTIAL.clear()
        for candidate, measures in self.core.fold.metrics().items():
            for metric, value in measures.items():
                metrics.PREQUENTIAL.labels(candidate, metric).set(value)
        fold = self.core.fold
        for name in (it.name for it in (fold.spec.model.candidates if fold.spec else ())):
            metrics.CANDIDATE_WITHDRAWN.labels(name).set(name not in fold.learners)
            metrics.VERSIONS.labels(name)  # at zero until the first one: an increase from nothing is none to Prometheus

    async def close(self) -> None:
        """Abandon an upload: the next owner of the fold publishes the same state, and tells how the candidates do."""
        for gauge in metrics.OF_THE_FOLD:
            gauge.clear()
        if self._upload is not None:
            self._upload.cancel()
            await asyncio.gather(self._upload, return_exceptions=True)
        await self._watcher.close()
        await self._client.close()


def rehearse(control: Control) -> None:
    """Make and dump every candidate before the log holds them for ever; SettingsError for one that cannot be."""
    fold = Fold()
    try:
        fold.apply(control, 0)
    except ValueError as error:
        raise SettingsError(_UNUSABLE.format(error)) from error
    fold.snapshots()
    if (withdrawal := fold.withdrawal()) is not None:
        raise SettingsError(_UNUSABLE.format("; ".join(f"{it.candidate}: {it.cause}" for it in withdrawal.withdrawn)))


def _name(kept: Mapping[str, Kept]) -> str:
    """What the checkpoint calls a set of snapshots: ``candidate=sha256``, separated by spaces."""
    return " ".join(f"{name}={it.sha256}" for name, it in kept.items())


async def _taken(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask the registry until it answers; SettingsError when it refuses or is none, which waiting does not mend."""
    told = False
    while True:
        try:
            return await ask()
        except NoRegistry as error:
            raise SettingsError(str(error)) from error
        except RegistryUnavailable as error:
            if not told:
                _log.warning("the registry is away; trying again until it is back", error=str(error))
                told = True
            await asyncio.sleep(_RETRY_S)
        except RegistryError as error:
            raise SettingsError(f"the registry refused: {error}") from error


async def open_train(
    deployment: Deployment, client: RegistryClient, cache: SnapshotCache, checkpoint: Checkpoint | None, *, refold: bool
) -> Driver:
    """The fold, restored from the checkpoint's snapshots and the log between them and the checkpoint.

    With ``refold`` from the log alone.
    """
    if checkpoint is None:
        return TrainDriver(Train(), deployment, client, cache)
    data = _DATA.decode(checkpoint.data)
    core = Train(Fold() if refold else await restored_fold(deployment, cache, data))
    core.control_offset = checkpoint.control
    examples = deployment.topic("examples")
    begun = core.fold.examples
    async for batch in readback.records(
        deployment.settings, examples, 0, core.fold.offset, checkpoint.inputs.get(examples, 0)
    ):
        for start in range(0, len(batch), _REFOLD_CHUNK):
            core.refold(batch[start : start + _REFOLD_CHUNK])
            await asyncio.sleep(0)
    core.totals.update(checkpoint.totals)
    if data.snapshots:
        versions = {name: kept.version for name, kept in data.snapshots.items()}
        core.published(versions, begun, time.time_ns() // 1_000_000, _name(data.snapshots))
    driver = TrainDriver(core, deployment, client, cache)
    driver.restored(data)
    return driver


async def restored_fold(deployment: Deployment, cache: SnapshotCache, data: Data) -> Fold:
    """The fold as of the snapshots; an empty one, to be refolded from the log's start, if they cannot be used.

    SettingsError if they are signed with a key that is not known here: what comes of another key is for people to decide.
    """
    if not data.snapshots:
        return Fold()
    opened = []
    try:
        for kept in data.snapshots.values():
            blob = await _taken(partial(cache.get, deployment.name, kept.version, kept.sha256))
            keys = deployment.settings.signing_keys
            opened.append(await asyncio.to_thread(snapshot.read, blob, kept.signature, keys))
        return Fold.restored(opened)
    except SignatureError as error:
        raise SettingsError(_ANOTHER_KEY) from error
    except (SettingsError, ValueError) as error:
        _log.warning("the last snapshots cannot be used: folding the examples from the log's start", error=str(error))
        return Fold()
