from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from services.runtime.probe import probe


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()
        self.wfile.write(b"what it waits for")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "code"), [("/healthz", 0), ("/readyz", 1)])
def test_the_exit_code_is_the_pages_answer(pages: str, path: str, code: int) -> None:
    """A page that says 200 is a yes, another a no; its words are printed, and no proxy of the environment is asked."""
    command = [sys.executable, "-m", "services.runtime.probe", f"{pages}{path}"]
    env = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == code
    assert "what it waits for" in done.stdout


def test_no_answer_is_a_no() -> None:
    """Neither a port where nothing listens nor a server that never answers is healthy, and the words say why."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/healthz"
        assert probe(address, timeout=0.1) == (False, f"{address}: TimeoutError: timed out")
    well, words = probe(address)
    assert not well
    assert "ConnectionRefusedError" in words
