"""Style sheet, scripts and icon of the pages: a fixed set of files, held in memory and cached by browsers.

What is not ours is listed in ``static/README.md`` with its version, source, licence and SHA-256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Request, Response, get

from services.registry.refusals import Missing

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    media_type: str
    tag: str


def _read(path: Path) -> _File:
    data = path.read_bytes()
    return _File(data, _TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:16])


_FILES = {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}


def url(name: str) -> str:
    """The address of a file, with its digest: another content is another address."""
    return f"/static/{name}?v={_FILES[name].tag}"


@get("/static/{name:str}", sync_to_thread=False, include_in_schema=False, opt={"unlimited": True})
def static_file(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    """One file; 304 when the browser has it. Under the address with its digest it need never be asked for again."""
    found = _FILES.get(name)
    if found is None:
        raise Missing(f"there is no file {name!r}", "Load the page again.")
    is_current = request.query_params.get("v") == found.tag
    headers = {"ETag": f'"{found.tag}"', "Cache-Control": _FOR_EVER if is_current else _ASK_AGAIN}
    if f'"{found.tag}"' in request.headers.get("If-None-Match", ""):
        return Response(b"", status_code=304, headers=headers, media_type=found.media_type)
    return Response(found.data, headers=headers, media_type=found.media_type)
