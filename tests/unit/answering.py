"""Servers that answer everything with one text, as a process does with its metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def pages_at(*texts: str) -> Iterator[list[str]]:
    """Base URLs of servers of which each answers everything with one of the texts."""
    with ExitStack() as stack:
        urls = []
        for text in texts:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), answering(text.encode())))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            urls.append(f"http://127.0.0.1:{server.server_port}")
        yield urls


def answering(body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
