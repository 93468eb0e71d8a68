"""Rivermill's own scoring service, started as it is deployed, and the pipeline it runs in."""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import kafka, ten
from bench.peers.job import Trained
from schemas.codec import encode
from schemas.models import AliasRecord
from schemas.predictions import ModelRef
from schemas.topics import Topic
from services.cli.loopback import free_port
from services.domain import linear, snapshot
from services.domain.registry_api import CHAMPION
from services.runtime.launch import Deployment, load
from services.runtime.registry_client import RegistryClient
from services.runtime.settings import Settings
from services.runtime.snapshots import SnapshotCache

VERSION = 1


class Pipeline:
    """The pipeline ``bench`` on a broker: its file, its topics, and a champion in the local cache of snapshots.

    Scoring needs no registry then: it reads ``models`` and finds the snapshot where it would have kept it.
    """

    def __init__(self, folder: Path, broker: str, partitions: int) -> None:
        self.path = folder / "bench.toml"
        self.path.write_text(ten.pipeline("bench", partitions), encoding="utf-8")
        self.key = secrets.token_hex(32)
        settings = Settings(broker=broker, signing_key=self.key.encode(), data_dir=folder / "data")
        self.deployment = Deployment(load(self.path), settings)
        self._topics = {topic.stream: topic for topic in self.deployment.table()}

    @property
    def settings(self) -> Settings:
        """How to reach the broker."""
        return self.deployment.settings

    def topic(self, stream: str) -> Topic:
        """A topic of the pipeline."""
        return self._topics[stream]

    async def open(self, blob: bytes) -> None:
        """Make the topics and let ``champion`` name this snapshot."""
        await self.deployment.ensure_topics()
        settings, spec = self.settings, self.deployment.spec
        cache = SnapshotCache(
            settings.data_dir / "snapshots" / spec.pipeline.name, RegistryClient(settings.registry_url)
        )
        sha256 = await cache.put(blob)
        signature = snapshot.sign(blob, self.key.encode())
        manifest = snapshot.read(blob, signature, settings.signing_keys).manifest
        record = AliasRecord(
            alias=CHAMPION, revision=1, name=manifest.name, candidate=manifest.candidate.name, version=VERSION,
            live=True, snapshot_sha256=sha256, signature=signature, size=len(blob), spec=manifest.spec,
            log_id=manifest.log_id, examples_offset=manifest.examples_offset, previous=None, actor="bench",
            reason="trained beforehand", at=datetime.now(UTC),
        )  # fmt: skip
        await kafka.fill(settings, self.topic("models").name, [(CHAMPION.encode(), encode(record))])

    def command(self, service: str = "scoring") -> list[str]:
        """How a service is started."""
        return [sys.executable, "-m", f"services.{service}", "--pipeline", str(self.path)]

    def environment(self, delivery: str, number: int = 0) -> dict[str, str]:
        """Its settings, as ``rivermill up`` gives them."""
        settings = self.settings
        return {
            "RIVERMILL_BROKER": settings.broker,
            "RIVERMILL_SIGNING_KEY": self.key,
            "RIVERMILL_DATA_DIR": str(settings.data_dir),
            "RIVERMILL_DELIVERY": delivery,
            "RIVERMILL_SLOT": f"bench-{number}",
            "RIVERMILL_WEB_PORT": str(free_port()),
        }


def exported(blob: bytes, threshold: float) -> bytes:
    """The snapshot's linear model as the peers' file: the same means, variances, weights and intercept, for River."""
    key = b"exporting"
    opened = snapshot.read(blob, snapshot.sign(blob, key), [key])
    manifest, columns = opened.manifest, opened.shared.columns
    state = msgspec.msgpack.decode(opened.payload, type=linear.State)
    ref = ModelRef(manifest.name, manifest.candidate.name, VERSION, manifest.examples_offset)
    return msgspec.json.encode(
        Trained(
            list(columns.plan.numbers), columns.counts, columns.means, columns.variances, state.dense,
            state.intercept, ref, threshold,
        )
    )  # fmt: skip
