"""The pipeline file that a pipeline's history was made under: what starts now must be able to go on from there.

Training is the authority: it asks once more when it has read its log to the end. But by then the other services would
long have worked under a file that means something else, so each asks at its start, of the control record that training
was under when it last committed.
"""

from __future__ import annotations

import msgspec

from schemas.examples import Control, Record
from schemas.state import Checkpoint
from schemas.topics import topic_name
from services.domain.spec import Spec, SpecError, from_canonical
from services.domain.spec_changes import changes
from services.runtime import readback
from services.runtime.settings import Settings, SettingsError

_CHECKPOINT = msgspec.json.Decoder(Checkpoint)
_RECORD = msgspec.json.Decoder(Record)
_TRAIN = b"train/0"


def require_allowed(before: Spec | None, now: Spec) -> None:
    """SettingsError for a pipeline file that the pipeline's history cannot go on under."""
    if before is None:
        return
    found = changes(before, now)
    if not found.allowed:
        told = "; ".join(f"{item.key}: {item.message}" for item in found.items if item.kind.startswith("needs"))
        raise SettingsError(f"the pipeline file has changed in a way that {now.pipeline.name} cannot take: {told}")


async def in_force(settings: Settings, pipeline: str) -> Spec | None:
    """The pipeline file of the control record in force, as training's last checkpoint names it.

    None before the first one, and where this release cannot read what is there: training will say what that means.
    """
    examples = topic_name(pipeline, "examples")
    kept = await readback.newest(
        settings, topic_name(pipeline, "state.learner"), 0, lambda record: bool(record.key == _TRAIN)
    )
    try:
        offset = None if kept is None or kept.value is None else _CHECKPOINT.decode(kept.value).control
        if offset is None:
            return None
        first, last = await readback.bounds(settings, examples, 0)
        if not first <= offset < last:
            return None
        async for batch in readback.records(settings, examples, 0, offset, offset + 1, whole=False):
            for record in batch:
                control = _RECORD.decode(record.value)
                return from_canonical(control.pipeline) if isinstance(control, Control) else None
    except (msgspec.MsgspecError, SpecError):
        pass
    return None
