"""The ids of events and labels, and the keys that they make."""

from __future__ import annotations

from typing import Any

from services.cleaning.core.rules import Rejected, shown

ID_MAX_BYTES = 256


def id_text(raw: Any, field: str) -> str:
    """The text of a raw id that is none: an integer in decimal; Rejected if it is no integer either."""
    if type(raw) is int:
        return str(raw)
    rule = "id_missing" if raw is None else "id_invalid"
    raise Rejected(rule, f"field {field!r}: an id is a string or an integer, got {shown(raw)}")


def key_of(name: str) -> bytes:
    """The key of the records of an id; Rejected if it is no text of 1 to 256 bytes in UTF-8."""
    try:
        key = name.encode()
    except UnicodeEncodeError as error:
        raise Rejected("id_invalid", f"the id {shown(name)} has half a surrogate pair") from error
    if not 0 < len(key) <= ID_MAX_BYTES:
        raise Rejected("id_invalid", f"an id has 1 to {ID_MAX_BYTES} bytes, this one {len(key)}")
    return key
