"""Label values: what fits the task."""

from __future__ import annotations

from typing import Any

from schemas.events import Change
from services.cleaning.core.repair import boolean, noted, number
from services.cleaning.core.rules import Rejected, shown


def label_value(task: str, field: str, raw: Any, changes: list[Change]) -> bool | float:
    """The label of a raw value: a boolean for a binary task, a finite number for regression; Rejected otherwise.

    The spellings that features allow are repaired alike. A boolean is no number here, and a number other than 1 and 0
    no boolean: that is the label of another task.
    """
    if raw is None:
        raise Rejected("label_missing", f"field {field!r}: no label")
    value: bool | float | None = (
        noted(boolean, field, raw, changes) if task == "binary" else noted(number, field, raw, changes)
    )
    if value is None:
        wanted = "a boolean (true, yes, 1, ...)" if task == "binary" else "a finite number"
        raise Rejected("label_invalid", f"field {field!r}: a {task} label is {wanted}, got {shown(raw)}")
    return value
