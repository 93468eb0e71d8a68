"""The worker shell: a Faust app for lifecycle, signals, web pages and control topics, with the data plane beside it.

Control topics are broadcast: every process reads them from their start, so each start has a Faust app id of its own.
They are read uncommitted. That is safe: a decision on ``models`` is in the registry's database before it is sent, and is
sent again until it is committed; live parameters are a function of committed examples alone, whether or not the
transaction that carries them commits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

import faust
import mode.loop
import structlog
from faust.auth import SASLCredentials, SSLCredentials
from faust.tables.manager import TableManager
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.domain.spec import SpecError
from services.runtime import access, interpreter, launch, logs
from services.runtime.ending import Ending, exit_code
from services.runtime.errors import OperatorError
from services.runtime.plane import DataPlane
from services.runtime.settings import DEFAULT_PORTS, Settings
from services.runtime.stage import Stage

_CANCELLED_S = 1.0
_log = structlog.get_logger()


class Handler(Protocol):
    """Handles control records."""

    async def __call__(self, value: bytes, offset: int, behind: bool = False) -> None:
        """One record. ``behind``: a newer one lay in its topic when this process began, and is yet to come."""


class _NoTables(TableManager):
    """Faust's own, which waits a second for tables to be declared before anything is read: here there are none."""

    logger = logging.getLogger("faust.tables")  # what mode says of it is no more important than what it says of others

    async def on_start(self) -> None:
        """Let Faust subscribe, and begin."""
        await self._update_channels()
        await self.recovery.start()


def _credentials(settings: Settings) -> Any:
    context = settings.ssl_context()
    if "SASL" in settings.security_protocol:
        return SASLCredentials(  # SASL_PLAINTEXT without a context
            username=settings.sasl_username,
            password=settings.sasl_password,
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context else None


def make_app(service: str, pipeline: str, settings: Settings) -> Any:
    """The Faust app of one process start: no tables, no leader topic, nothing declared, loopback unless told."""
    return faust.App(
        f"{pipeline}.{service}.{uuid.uuid4().hex}",
        broker=";".join(f"kafka://{address.strip()}" for address in settings.broker.split(",")),
        broker_credentials=_credentials(settings),
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        topic_disable_leader=True,
        topic_allow_declare=False,
        store="memory://",
        TableManager=_NoTables,
        datadir=str(_folder(service, settings)),
        web_bind=settings.bind,
        web_host=settings.bind,
        web_port=settings.web_port or DEFAULT_PORTS[service],
        web_tables_enabled=False,
        worker_redirect_stdouts=False,
        stream_wait_empty=False,
    )


def _folder(service: str, settings: Settings) -> Path:
    return settings.folder("faust", service)


def _follow(app: Any, topic: str, handle: Handler, newest: int) -> None:
    """An agent on one control topic; a record that ``handle`` cannot use is its own affair to report.

    ``newest`` is where the topic's newest record lay when this process began; offsets count anew if it is made anew.
    Without acks there are no offsets to commit: none would be read, and a commit can keep a Faust that crashed for ever.
    """

    async def agent(stream: Any) -> None:
        behind = True
        async for event in stream.events():
            if event.value is not None:
                behind = behind and event.message.offset < newest
                await handle(event.value, event.message.offset, behind)

    app.agent(app.topic(topic, key_serializer="raw", value_serializer="raw", acks=False), name=f"follow.{topic}")(agent)


def _pages(app: Any, plane: DataPlane) -> None:
    @app.page("/metrics")  # type: ignore[untyped-decorator] # faust's decorators are untyped
    async def metrics(view: Any, request: Any) -> Any:  # noqa: ARG001 - faust's signature
        return view.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])

    @app.page("/healthz")  # type: ignore[untyped-decorator] # as above
    async def healthz(view: Any, request: Any) -> Any:  # noqa: ARG001 - faust's signature
        stalled = plane.stalled()
        return view.json({"healthy": not stalled, "stalled": stalled}, status=503 if stalled else 200)

    @app.page("/readyz")  # type: ignore[untyped-decorator] # as above
    async def readyz(view: Any, request: Any) -> Any:  # noqa: ARG001 - faust's signature
        unready = plane.unready()
        return view.json({"ready": not unready, "waiting": unready}, status=503 if unready else 200)


class Worker(faust.Worker):
    """Faust's worker with the data plane beside the app. It stops the data plane first, for what it has in flight.

    However it is told to end, the process is gone in time, also when Faust or a model never comes back.
    """

    logger = logging.getLogger("faust.worker")

    def __init__(self, app: Any, stages: Sequence[Stage]) -> None:
        self.ending = Ending()
        self._settings = stages[0].settings
        self.plane = DataPlane(stages, self._fail)
        super().__init__(app, self.plane, loglevel=None, override_logging=False, quiet=True)
        self.spinner = None

    def install_signal_handlers(self) -> None:
        """The time begins with the signal: the loop's own handlers, which these wake, may be kept waiting."""
        super().install_signal_handlers()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.ending.begin())

    async def start(self) -> None:
        """Start, and run; what keeps Faust from starting is told like everything that ends the service."""
        try:
            await super().start()
        except Exception as error:
            self._tell(error)
            raise

    async def on_stop(self) -> None:
        """Stop the data plane; exit code 0 if that went well and nothing else has failed."""
        self.ending.begin()
        if self.crash_reason is not None:
            self._tell(self.crash_reason)
        await self.plane.stop()
        if self.ending.code is None and not self.plane.cut_off:
            self.ending.code = 0

    def _gather_all(self) -> None:
        """Cancel what the libraries have left: mode would give it a second to end by itself, which it never does."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()

    async def _sentinel_task(self) -> None:
        """Wait for it, a second at most: mode would sleep so long before it closes the loop."""
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left, timeout=_CANCELLED_S)

    def _tell(self, error: BaseException) -> None:
        """One clear line for what is wrong with Faust, unless the data plane has had its own."""
        if self.ending.code is None:
            told = access.explained(error, self._settings) or error
            _log.error("service ends", error=f"{type(told).__name__}: {told}")
            self._over(exit_code(told) if told is not error else 1)

    async def _fail(self, error: BaseException) -> None:
        """The data plane has failed, and has told why."""
        self._over(exit_code(error))
        await self.app.crash(error)

    def _over(self, code: int) -> None:
        """What is wrong has been told: what follows from it, the libraries need not tell as well."""
        self.ending.code = code
        self.ending.begin()
        for library in ("mode", "faust"):
            logging.getLogger(library).setLevel(logging.CRITICAL + 1)


def run(
    service: str,
    deployed: launch.Deployment,
    stages: Sequence[Stage],
    follow: Mapping[str, Handler],
    newest: Mapping[str, int],
) -> NoReturn:
    """Run one service until SIGTERM or SIGINT (exit 0), or until something is really wrong (:func:`exit_code`).

    ``follow`` maps full names of control topics, one at least, to their handlers; ``newest`` tells for those whose handlers
    care where their newest record lies.
    """
    settings = deployed.settings
    app = make_app(service, deployed.name, settings)
    worker = Worker(app, stages)
    _pages(app, worker.plane)
    for topic, handle in follow.items():
        _follow(app, topic, handle, newest.get(topic, -1))
    interpreter.tune()
    _log.info("service starts", pipeline=deployed.name, pid=os.getpid(), broker=settings.broker, port=app.conf.web_port)
    with suppress(SystemExit):  # Faust's own code knows only 0 and 1
        worker.execute_from_commandline()
    sys.exit(1 if worker.ending.code is None else worker.ending.code)


def fail(service: str, error: OperatorError | SpecError) -> NoReturn:
    """One clear line for what keeps a service from starting, and exit code 2 if only the user can put it right."""
    sys.stderr.write(f"{service}: {error}\n")
    sys.exit(exit_code(error))


Wiring = Callable[[launch.Deployment, dict[str, int]], tuple[Sequence[Stage], Mapping[str, Handler]]]
"""Makes a service's stages and its handlers of control topics, given the partitions of every topic."""


def serve(service: str, description: str, wire: Wiring) -> NoReturn:
    """A service's main function: arguments, settings, topics, and then :func:`run`."""
    parser = launch.arguments(service, description)
    start(service, parser.parse_args().pipeline, wire)


def start(service: str, pipeline: Path, wire: Wiring) -> NoReturn:
    """What follows the command line; what is in the way is one clear line."""
    mode.loop.use("uvloop")
    try:
        deployed = launch.deployment(pipeline)
        logs.configure(service, deployed.settings.log_level, deployed.settings.log_format)
        _folder(service, deployed.settings)  # before anything is asked of Kafka
        stages, follow = wire(deployed, asyncio.run(deployed.prepare(service)))
        newest = asyncio.run(deployed.newest(follow))
    except (SpecError, OperatorError) as error:
        fail(service, error)
    run(service, deployed, stages, follow or {deployed.topic("models"): _note_decision}, newest)


async def _note_decision(value: bytes, offset: int, behind: bool = False) -> None:  # noqa: ARG001 - the protocol's
    """What a service does with decisions that are none of its business: Faust needs a topic to follow."""
    _log.debug("decision on models", offset=offset, record=value.decode(errors="replace"))
