"""What a pipeline file must satisfy beyond the types of its keys. Pure: a Spec in, problems out."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Iterator

from schemas.topics import STREAMS
from services.domain.spec_candidates import candidates
from services.domain.spec_decode import nearest, shown
from services.domain.spec_duration import duration
from services.domain.spec_features import ESCAPED, UNDECODABLE, features
from services.domain.spec_tables import Cross, Encoding, Problem, Spec, SpecError

_HALF_LIFE = 0.1, 1e12
"""Labels: below, a mean is the last label; above, no label moves it by what a float can hold."""
_KAFKA_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
_RAW = ("events.raw", "labels.raw")
_DERIVED = re.compile(
    rf"([a-z0-9][a-z0-9_-]{{0,63}})\.({'|'.join(re.escape(each) for each in STREAMS if each not in _RAW)})\Z"
)
"""A stream that Rivermill writes itself, of whichever pipeline."""


def check(spec: Spec) -> Iterator[Problem]:
    """Every problem that types alone do not show."""
    yield from _pipeline(spec)
    yield from _fields(spec)
    yield from _durations(spec)
    yield from _topics(spec)
    yield from features(spec)
    yield from _combinations("crosses", spec.crosses, spec)
    yield from _combinations("encodings", spec.encodings, spec)
    yield from _half_lives(spec)
    yield from candidates(spec)
    if spec.drift.false_alarms_per_day <= 0:
        yield Problem(("drift", "false_alarms_per_day"), "expected a number above 0: a detector that may never err "
                      "never speaks")  # fmt: skip


def _pipeline(spec: Spec) -> Iterator[Problem]:
    table = spec.pipeline
    path = ("pipeline", "threshold")
    if table.task == "binary" and not 0 <= table.threshold <= 1:
        yield Problem(path, f"expected a probability from 0 to 1, got {shown(table.threshold)}")
    if table.task == "regression" and table.threshold != 0.5:  # noqa: PLR2004 - the default: not written
        yield Problem(path, 'goes with task = "binary" only; take it out')
    value, expected = spec.label.on_expiry, "true or false" if table.task == "binary" else "a number"
    if value != "drop" and isinstance(value, bool) is not (table.task == "binary"):
        message = f'expected "drop" or a label of a {table.task} task ({expected}), got {shown(value)}'
        yield Problem(("label", "on_expiry"), message)
    try:
        zoneinfo.ZoneInfo(spec.event.timezone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        hint = nearest(spec.event.timezone, zoneinfo.available_timezones())
        message = f'expected an IANA time zone like "Europe/Berlin", got {shown(spec.event.timezone)}{hint}'
        yield Problem(("event", "timezone"), message)


def _fields(spec: Spec) -> Iterator[Problem]:
    event, label = spec.event, spec.label
    groups = {
        "event": {"id": event.id, "time": event.time},
        "label": {"id": label.id, "value": label.value, "time": label.time},
    }
    for table, fields in groups.items():
        owners: dict[str, str] = {}
        for key, name in fields.items():
            if not name:
                yield Problem((table, key), "expected the name of a field of the raw record, got an empty one")
            elif ESCAPED.search(name):
                yield Problem((table, key), UNDECODABLE)
            elif name in owners:
                message = f"expected another field than {table}.{owners[name]}, which is {shown(name)} too"
                yield Problem((table, key), message)
            owners.setdefault(name, key)


def _durations(spec: Spec) -> Iterator[Problem]:
    block = spec.drift.block
    written = {
        ("topics", "retention"): spec.topics.retention,
        ("event", "max_ahead"): spec.event.max_ahead,
        ("label", "horizon"): spec.label.horizon,
        ("snapshots", "every"): spec.snapshots.every,
        ("snapshots", "live_every"): spec.snapshots.live_every,
        ("drift", "block", "at_least"): block.at_least,
        ("drift", "block", "at_most"): block.at_most,
    }
    wrong: set[tuple[str, ...]] = set()
    for path, text in written.items():
        try:
            duration(text)
        except SpecError as error:
            wrong.add(path)
            yield Problem(path, str(error))
    bounds = {("drift", "block", "at_least"), ("drift", "block", "at_most")}
    if not wrong & bounds and duration(block.at_least) > duration(block.at_most):
        yield Problem(
            ("drift", "block", "at_least"), f"expected at most at_most ({block.at_most}), got {block.at_least}"
        )


def _topics(spec: Spec) -> Iterator[Problem]:
    raw = {f"{spec.pipeline.name}.{stream}" for stream in _RAW}
    for table, topic in (("event", spec.event.topic), ("label", spec.label.topic)):
        if topic is None:
            continue
        own = f"{spec.pipeline.name}.{table}s.raw"
        if not _KAFKA_NAME.match(topic) or topic in {".", ".."}:
            expected = "expected a Kafka topic name (1 to 249 of A-Z a-z 0-9 . _ -)"
            yield Problem((table, "topic"), f"{expected}, got {shown(topic)}")
        elif topic in raw - {own}:
            other = "label" if table == "event" else "event"
            yield Problem(
                (table, "topic"), f"expected another topic than the one that {other}s have by default: {topic}"
            )
        elif derived := _DERIVED.match(topic):
            yield Problem(
                (table, "topic"),
                f"expected a topic that producers write; {topic} is written by Rivermill itself, for the pipeline "
                f"{derived[1]}, and holds no raw {table}s: name the topic that these are sent to",
            )
    if spec.event.topic is not None and spec.event.topic == spec.label.topic:
        yield Problem(
            ("label", "topic"), f"expected another topic than event.topic: {spec.label.topic} cannot hold both"
        )


def _combinations(table: str, combinations: Iterable[Cross | Encoding], spec: Spec) -> Iterator[Problem]:
    """``by`` names categories or booleans, each once, and no two entries combine the same ones."""
    seen: dict[frozenset[str], int] = {}
    for index, by in enumerate(entry.by for entry in combinations):
        path = (table, index, "by")
        for position, name in enumerate(by):
            feature = spec.features.get(name)
            if feature is None:
                hint = nearest(name, spec.features)
                yield Problem((*path, position), f"expected a feature of this file, got {shown(name)}{hint}")
            elif feature.type == "number":
                message = f"expected a category or a boolean, {name} is a number (it has too many values to count by)"
                yield Problem((*path, position), message)
            elif name in by[:position]:
                yield Problem((*path, position), f"expected each feature once, got {shown(name)} again")
        fields = frozenset(by)
        if fields in seen:
            yield Problem(path, f"expected another combination than {table}[{seen[fields]}], which is the same")
        seen.setdefault(fields, index)


def _half_lives(spec: Spec) -> Iterator[Problem]:
    least, most = _HALF_LIFE
    for index, encoding in enumerate(spec.encodings):
        named = [f"{labels:g}" for labels in encoding.half_life]
        for position, labels in enumerate(encoding.half_life):
            path = ("encodings", index, "half_life", position)
            if not least <= labels <= most:
                yield Problem(path, f"expected a number of labels from {least:g} to {most:g}, got {shown(labels)}")
            elif named[position] in named[:position]:
                message = (
                    f"expected each half-life once to six digits (columns are named by it), got {shown(labels)} again"
                )
                yield Problem(path, message)
        if encoding.as_ == "logit" and spec.pipeline.task == "regression":
            yield Problem(
                ("encodings", index, "as"), 'expected "rate": the logit is of a share, the labels are numbers'
            )
