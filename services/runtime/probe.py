"""``python -m services.runtime.probe URL``: whether a health page says yes. For images that hold no HTTP client."""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

_TIMEOUT_S = 4.0
_SHOWN_BYTES = 2000


def probe(url: str, timeout: float = _TIMEOUT_S) -> tuple[bool, str]:
    """Whether ``url`` answers 200, and the beginning of what it says. No proxy is asked, whatever the environment says."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        text = answer.read(_SHOWN_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"{url}: {type(error).__name__}: {error}"
    finally:
        connection.close()
    return answer.status == http.HTTPStatus.OK, f"{url}: {answer.status} {text}"


def main() -> int:
    """Exit code 0 for yes, 1 for no; what the page says is printed, for who asks why."""
    well, words = probe(sys.argv[1])
    sys.stdout.write(f"{words}\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
