"""The registry's wiring: database, blobs and publisher behind one Litestar application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection

import structlog
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from sqlalchemy import select

from services.registry.acts import ACTS
from services.registry.api import API, Registry, registry_of, uploads
from services.registry.blobs import open_blobs
from services.registry.database import open_database
from services.registry.follower import Follower
from services.registry.guards import Guard
from services.registry.health import HEALTH
from services.registry.manifests import Manifests
from services.registry.observed import Observed
from services.registry.pages import PAGES
from services.registry.problems import EXCEPTION_HANDLERS
from services.registry.publisher import Publisher
from services.registry.settings import RegistrySettings
from services.registry.static_files import static_file
from services.registry.tables import VersionRow
from services.runtime.clients import ignore_futures_of_failed_producers

_OTHER_BODIES = 64 * 1024
_CANCEL_AGAIN_S = 1.0
_log = structlog.get_logger()


def application(settings: RegistrySettings, on_failure: Callable[[], None]) -> Observed:
    """Open everything and return the ASGI application; OperatorError says what cannot be opened.

    ``on_failure`` is called when the publisher or the follower ends by itself: a registry that publishes nothing must
    not look healthy, so the process is to stop.
    """
    database = open_database(settings.database)
    with database.reading() as session:
        used = session.scalar(select(VersionRow.version).limit(1)) is not None
    blobs = open_blobs(settings.blobs, used=used)
    keys = (settings.runtime.signing_key, settings.runtime.signing_key_previous)
    manifests = Manifests(tuple(key for key in keys if key))
    guard = Guard(database, settings.token, settings.anonymous, loopback=settings.loopback)

    @contextlib.asynccontextmanager
    async def publishing(served: Litestar) -> AsyncGenerator[None, None]:
        asyncio.get_running_loop().set_exception_handler(ignore_futures_of_failed_producers)
        publisher = Publisher(database, settings.kafka)
        follower = Follower(database, settings.kafka, publisher)
        served.state.guard = guard
        served.state.registry = Registry(database, blobs, publisher, uploads(), follower, manifests)
        tasks = [asyncio.create_task(each) for each in (publisher.run(), publisher.hold(), follower.run())]
        for task in tasks:
            task.add_done_callback(lambda ended: _watch(ended, on_failure))
        try:
            yield
        finally:
            await end(tasks)
            database.close()

    app = Litestar(
        route_handlers=[API, *PAGES, ACTS, *HEALTH, static_file],
        dependencies={"registry": Provide(registry_of, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[publishing],
        guards=[guard],
        openapi_config=OpenAPIConfig(
            title="Rivermill registry", version="1", path="/schema", render_plugins=[JsonRenderPlugin(path="/")]
        ),
        request_max_body_size=_OTHER_BODIES,
        multipart_form_part_limit=8,
        logging_config=None,
        debug=False,
    )
    return Observed(app)


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended: aiokafka loses a cancellation that meets an answer of the broker."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)


def _watch(task: asyncio.Task[None], on_failure: Callable[[], None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a task of the registry failed; it stops", exc_info=error)
        on_failure()
