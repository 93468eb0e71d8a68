"""``rivermill check``: what a pipeline file says, and whether a running pipeline may take it up."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.topics import topics
from services.domain.spec import Candidate, Encoding, Feature, Spec, duration, spec_hash
from services.domain.spec_changes import changes

_TELLS = {
    "none": "no difference: the same hash, the same pipeline",
    "in place": "may be taken up in place: restart the services with this file and the learner's log goes on",
    "needs a new name": "may not be taken up as it is: a known name would come to mean something else",
    "needs a new pipeline name": "may not be taken up under this name: it is another pipeline",
}


def described(spec: Spec) -> str:
    """A pipeline in words."""
    return "\n".join(_described(spec))


def compared(old: Spec, new: Spec) -> str:
    """What changes from one pipeline to another, and what that means for the one that runs."""
    report = changes(old, new)
    head = f"From {old.pipeline.name} {spec_hash(old)} to {new.pipeline.name} {spec_hash(new)}: {_TELLS[report.kind]}."
    return "\n".join([head, *(f"  {item.kind}: {item.key}: {item.message}" for item in report.items)])


def _described(spec: Spec) -> Iterator[str]:
    table, event, label = spec.pipeline, spec.event, spec.label
    yield f"{table.name}: a {table.task} task, spec {spec_hash(spec)}"
    yield _row(
        "event", f"id {event.id}, time {event.time} ({event.time_format}, {event.timezone}, {event.clock} clock)"
    )
    expiry = "dropped" if isinstance(label.on_expiry, str) else f"counts as {_label(label.on_expiry)}"
    yield _row("label", f"{label.value} of {label.id} at {label.time}, within {label.horizon}, then {expiry}")
    for kind in ("number", "boolean", "category"):
        named = [_feature(name, feature) for name, feature in spec.features.items() if feature.type == kind]
        if named:
            yield _row(_count(len(named), kind), ", ".join(named))
    if spec.crosses:
        yield _row(_count(len(spec.crosses), "cross"), ", ".join("*".join(cross.by) for cross in spec.crosses))
    if spec.encodings:
        yield _row(_count(len(spec.encodings), "encoding"), ", ".join(map(_encoding, spec.encodings)))
    yield _row(_count(len(spec.model.candidates), "candidate"), ", ".join(map(_candidate, spec.model.candidates)))
    yield _row("topics", _topics(spec))


def _topics(spec: Spec) -> str:
    raw = {"events.raw": spec.event.topic, "labels.raw": spec.label.topic}
    rows = topics(spec.pipeline.name, spec.topics.partitions, _ms(spec.topics.retention), _ms(spec.label.horizon))
    foreign = [f"{stream} is {topic}" for stream, topic in raw.items() if topic]
    ours = [row for row in rows if not raw.get(row.stream)]
    shared = sum(row.partitions == 1 for row in ours) if spec.topics.partitions > 1 else 0
    told = f"{len(ours)} under {spec.pipeline.name}.*, {spec.topics.partitions} partitions each"
    told += f" but {shared} of one" if shared else ""
    return "; ".join([told, *foreign])


def _row(head: str, text: str) -> str:
    return f"  {head:<14} {text}"


def _count(count: int, word: str) -> str:
    plural = {"cross": "crosses", "boolean": "booleans", "category": "categories"}.get(word, f"{word}s")
    return f"{count} {word if count == 1 else plural}"


def _feature(name: str, feature: Feature) -> str:
    return f"{name} (derived)" if feature.derive else name


def _encoding(encoding: Encoding) -> str:
    lives = "/".join(f"{labels:g}" for labels in encoding.half_life)
    return f"{'+'.join(encoding.by) or '*'} ({encoding.as_} {lives})"


def _candidate(candidate: Candidate) -> str:
    return f"{candidate.name} ({candidate.model or candidate.factory})"


def _label(value: bool | float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _ms(text: str) -> int:
    return round(duration(text).total_seconds() * 1000)
