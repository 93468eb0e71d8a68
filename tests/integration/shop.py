"""The order shop of docs/own-topics.md, run from a shell with each service by itself, as the pages say."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx

from examples.orders.made import made
from services.cli.loopback import free_port
from services.cli.topic_batches import Keyed
from services.domain import snapshot
from services.domain.registry_api import SetAlias
from services.domain.signing import SignatureError
from tests.integration.pipelines import ANSWER_S, Pipeline, send, until
from tests.terminals import Terminal

SERVICES = ("cleaning", "scoring", "learner", "drift")


class Shop:
    """The order shop, run from a shell as the pages say, on ports and a broker of its own; ``look`` is another shell."""

    def __init__(self, folder: Path, terminal: Terminal, other: Terminal, pipeline: Pipeline) -> None:
        self.folder = folder
        self.pipeline = pipeline
        self.sold: list[str] = []
        self.look = other.run
        self._terminal = terminal
        self._ports = {name: free_port() for name in (*SERVICES, "second")}
        self._orders = made(10_000)

    def run(self, block: str) -> str:
        """Run a block of a page, and say what it printed."""
        return self._terminal.run(self._here(block))

    def answer(self, block: str, question: str, words: str) -> str:
        """Run a block that asks something, and say what it printed."""
        return self._terminal.answer(self._here(block), question, words)

    def _here(self, block: str) -> str:
        settings = self.pipeline.deployment.settings
        text = block.replace("kafka-1:9092", settings.broker).replace("9112", str(self._ports["second"]))
        text = text.replace("--port 8080", f"--port {settings.registry_url.rpartition(':')[2]}")
        for service in SERVICES:
            text = re.sub(
                rf"^(RIVERMILL_\w+=\S+ |)python -m services.{service} ",
                rf"RIVERMILL_WEB_PORT={self._ports[service]} \g<0>", text, flags=re.MULTILINE,
            )  # fmt: skip
        for service, port in zip(SERVICES, range(9101, 9105), strict=True):
            text = text.replace(f"http://10.0.0.7:{port}", f"http://127.0.0.1:{self._ports[service]}")
        return text

    async def sell(self, count: int) -> None:
        """Send orders, and whether they were returned."""
        portion = [next(self._orders) for _ in range(count)]
        self.sold += [it.order["order_id"] for it in portion]
        deployment = self.pipeline.deployment
        await send(deployment, deployment.events_topic, [keyed(it.order) for it in portion])
        await send(deployment, deployment.labels_topic, [keyed(it.label) for it in portion])

    async def ready(self, *names: str) -> None:
        """Wait until these processes answer that they are ready."""
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:

            async def all_are() -> bool:
                try:
                    asked = [client.get(f"http://127.0.0.1:{self._ports[name]}/readyz") for name in names]
                    return all(each.is_success for each in await asyncio.gather(*asked))
                except httpx.HTTPError:
                    return False

            await until(all_are, f"{names} to be ready", 150)

    async def lanes(self, name: str) -> float:
        """How many a process has; none once it is gone."""
        try:
            return await self.measured(name, "rivermill_lanes")
        except httpx.HTTPError:
            return 0

    async def refused(self) -> float:
        """How often scoring has refused a signature since it began."""
        return await self.measured("scoring", 'rivermill_served_refused_total{reason="signature"}')

    def token(self, file: str) -> str:
        """The token in this file of the checkout."""
        return (self.folder / file).read_text(encoding="utf-8").strip()

    async def newest(self, candidate: str, token: str | None = None) -> int:
        """The newest version of a candidate."""
        async with self.pipeline.registry(token=token) as registry:
            page = await registry.versions(self.pipeline.deployment.name, candidate=candidate, limit=1)
            return page.items[0].version

    async def measured(self, name: str, metric: str) -> float:
        """The sum of a metric of one process."""
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
            text = (await client.get(f"http://127.0.0.1:{self._ports[name]}/metrics")).text
        return sum(map(float, re.findall(rf"^{re.escape(metric)}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))

    async def signed(self) -> bool:
        """Whether the key that is current now has signed each version that an alias names."""
        key, name = (self.folder / "signing.key").read_bytes().strip(), self.pipeline.deployment.name
        async with self.pipeline.registry() as registry:
            for alias in (await registry.aliases(name)).values():
                version = await registry.version(name, alias.version)
                blob = await registry.snapshot(name, version.version, version.sha256)
                try:
                    snapshot.read(blob, version.signature, [key])
                except SignatureError:
                    return False
        return True

    async def name(self, version: int, *, live: bool) -> None:
        """Let the champion be this version, or what its candidate has learned since."""
        async with self.pipeline.registry() as registry:
            await registry.set_alias(
                self.pipeline.deployment.name, "champion", SetAlias(version, live=live, reason="test")
            )

    def bearing(self, token: str = "") -> httpx.Client:
        """The registry's API of this pipeline, for who has the token in this file of the checkout, or none."""
        headers = {"Authorization": f"Bearer {self.token(token)}"} if token else {}
        deployment = self.pipeline.deployment
        url = f"{deployment.settings.registry_url}/api/v1/models/{deployment.name}"
        return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)


def keyed(fields: dict[str, Any]) -> Keyed:
    return fields["order_id"].encode(), json.dumps(fields).encode()
