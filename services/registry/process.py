"""The registry as a process: its command line, its server, how it ends."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import cyclopts
import structlog
import uvicorn

from services.registry.app import application
from services.registry.server import server_config
from services.registry.settings import RegistrySettings, registry_settings
from services.runtime.ending import Ending
from services.runtime.errors import OperatorError
from services.runtime.logs import configure
from services.runtime.settings import SettingsError

command = cyclopts.App(name="python -m services.registry", help_format="markdown", version_flags=[])


@command.default
def serve(
    *,
    host: Annotated[str, cyclopts.Parameter(help="Address to listen on; another than loopback needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int,
        cyclopts.Parameter(
            help="Port to listen on; 0 takes a free one, which the log names.",
            validator=cyclopts.validators.Number(gte=0, lte=65535),
        ),
    ] = 8080,
) -> int:
    """Keep the versions of every pipeline's models, and decide which of them is served.

    One registry serves many pipelines, so it reads no pipeline file. Its settings come from the environment:

    - `RIVERMILL_REGISTRY_DATABASE`: `sqlite:///file` (default: a file in the data folder) or `postgresql://…`;
      migrated at start (or `_FILE`)
    - `RIVERMILL_BLOBS`: a folder (default: in the data folder) or `s3://bucket/prefix`
    - `RIVERMILL_DATA_DIR`: the data folder, `.data` by default
    - `RIVERMILL_REGISTRY_TOKEN`: a token that may do everything (or `_FILE`); `rivermill tokens` makes others
    - `RIVERMILL_REGISTRY_ANONYMOUS`: what is allowed without a token, `none`, `read` or `write`
    - `RIVERMILL_REGISTRY_PROXIES`: addresses of proxies that may say for whom they ask
    - `RIVERMILL_BROKER`: where alias records go, to `<pipeline>.models`; without it they wait in the database
    - the `RIVERMILL_SASL_*` and `RIVERMILL_SSL_*` variables of every service

    Pages at `/`, the API's description at `/schema`, `/healthz`, `/readyz`, `/metrics`. Ctrl-C or SIGTERM stops it.

    Example: `RIVERMILL_BROKER=127.0.0.1:9092 python -m services.registry --port 8080`
    """
    try:
        settings = registry_settings(os.environ, host, port)
        configure("registry", settings.runtime.log_level, settings.runtime.log_format)
        return run(settings)
    except OperatorError as error:
        print(f"registry: {error}", file=sys.stderr)  # noqa: T201 - the one line a person reads
        return 2 if isinstance(error, SettingsError) else 1


class Server(uvicorn.Server):
    """Told to end, the process is gone in time, also when a library never comes back."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = Ending()

    def leave(self) -> None:
        """End without a signal."""
        self._ending.begin()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The time begins with the signal."""
        self._ending.begin()
        super().handle_exit(sig, frame)


def run(settings: RegistrySettings) -> int:
    """Serve until a signal: 0 after SIGINT and SIGTERM, 1 when the port cannot be had or the publisher failed."""
    failed = False

    def fail() -> None:
        nonlocal failed
        failed = True
        server.leave()

    server = Server(server_config(application(settings, fail), settings))
    structlog.get_logger().info("registry starts", url=f"http://{settings.host}:{settings.port}")
    signal.signal(signal.SIGTERM, _leave)  # uvicorn raises the signal once more when it has stopped
    try:
        server.run()
    except KeyboardInterrupt:
        return 0
    except SystemExit:  # uvicorn has logged why it could not start
        return 1
    return 1 if failed or not server.started else 0


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
