"""An outline as a commented pipeline file: what is measured is told beside the key, what is guessed says "check"."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta

from services.cli.init_columns import Column
from services.cli.init_features import feature
from services.cli.init_lines import line, quantiles, quoted, sayable
from services.cli.init_outline import Outline
from services.domain.spec_features import ESCAPED, NAME_MAX

_UNFIT = re.compile(r"[+*=]|" + ESCAPED.pattern)
_NAME_CUT = 80
_ENCODED, _ENCODED_VALUES = 4, 1_000
_RATE_SHARE, _HOURS_SHOWN = 0.03, 72
_MODELS = {"binary": ("logistic", "logistic_regression"), "regression": ("linear", "linear_regression")}


def written(name: str, outline: Outline, source: str) -> str:
    """The text of the file; ``source`` says what it was made from."""
    features = _named(outline)
    parts = [
        _head(name, outline, source),
        _event(outline),
        _label(outline),
        *(feature(each, column, column.name in outline.telling) for each, column in features.items()),
        *_derived(outline, features),
        *_left_out(outline),
        *_encodings(outline, features),
        _models(outline),
    ]
    return "\n\n".join(parts) + "\n"


def _named(outline: Outline) -> dict[str, Column]:
    """The features by names that a pipeline may have; a column that is called otherwise becomes an alias."""
    taken = {column.name for column in outline.features} | {outline.asked.id, outline.asked.time}
    named: dict[str, Column] = {}
    for column in outline.features:
        name = column.name
        if _UNFIT.search(name) or len(name.encode()) > NAME_MAX:
            name = _free(_UNFIT.sub("_", name).encode()[:_NAME_CUT].decode(errors="ignore"), taken)
        named[name] = column
    return named


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def _head(name: str, outline: Outline, source: str) -> str:
    binary = outline.labels.task == "binary"
    task = "labels are true or false" if binary else "labels are numbers"
    return "\n".join([
        f"# A first pipeline, written by `rivermill init` from {source}.",
        '# What was measured there stands beside each key; what had to be guessed says "check".',
        "",
        "[pipeline]",
        line(f"name = {quoted(name)}", f"topics are named {name}.events.raw, {name}.predictions, ..."),
        line(f"task = {quoted(outline.labels.task)}", task),
        "",
        "[topics]",
        line("partitions = 4", "check: how far it can be scaled out; fixed for the life of the name"),
    ])  # fmt: skip


def _event(outline: Outline) -> str:
    times, asked = outline.times, outline.asked
    known = times.known
    repeats = f"{outline.repeated:.1%} came before: the later ones are dropped" if outline.repeated else "each its own"
    zone = "check: the times have no offset, whose are they?" if times.local else "check: whose hours and weekdays?"
    return "\n".join([
        "[event]",
        '# topic = "your.topic"             # check: your own topic of events; without it, one is made',
        line(f"id = {quoted(asked.id)}", repeats),
        line(f"time = {quoted(asked.time)}", f"from {min(known):%Y-%m-%d %H:%M} to {max(known):%Y-%m-%d %H:%M} UTC"),
        line(f"time_format = {quoted(times.time_format)}"),
        line('timezone = "UTC"', zone),
        line('clock = "wall"', 'check: "replay" if old events are sent, so that their own times are the clock'),
    ])  # fmt: skip


def _label(outline: Outline) -> str:
    asked, labels = outline.asked, outline.labels
    came = asked.label_time or asked.time
    at_once = (
        "check: when the label is known, if that is later than the event (--label-time)" if came == asked.time else ""
    )
    expiry, why = _expiry(outline)
    return "\n".join([
        "[label]",
        '# topic = "your.labels"            # check: your own topic of labels; without it, one is made',
        line(f"id = {quoted(asked.id)}"),
        line(f"value = {quoted(asked.label)}", _told(labels.known, binary=labels.task == "binary")),
        line(f"time = {quoted(came)}", at_once),
        line(f"horizon = {quoted(outline.horizon)}", _waited(outline)),
        line(f"on_expiry = {expiry}", why),
    ])  # fmt: skip


def _told(known: Sequence[bool | float], *, binary: bool) -> str:
    if binary:
        return f"true {sum(known) / len(known):.1%} of the time"
    low, middle, high = quantiles(sorted(map(float, known)))
    return f"{low:g} to {high:g} (1 % to 99 %), median {middle:g}"


def _waited(outline: Outline) -> str:
    if outline.longest is None:
        return "check, a guess: how long after its event may a label come?"
    return f"check, a guess: 99 % of the labels came within {_lasting(outline.longest)}"


def _lasting(time: timedelta) -> str:
    hours = time / timedelta(hours=1)
    return f"{hours:.1f} hours" if hours < _HOURS_SHOWN else f"{hours / 24:.1f} days"


def _expiry(outline: Outline) -> tuple[str, str]:
    if outline.labels.task == "binary" and all(outline.labels.known):
        return "false", "check: the sample's labels only ever say true, so what has none by then is false"
    return '"drop"', "check: what has no label by then teaches nothing"


def _derived(outline: Outline, features: Collection[str]) -> Iterator[str]:
    taken = {*features, outline.asked.id, outline.asked.time} | {alias.name for alias in outline.features}
    for part in outline.derived:
        name = part if part not in taken else _free(f"event_{part}", taken)
        yield f'[features.{name}]\ntype = "category"\nderive = "{part}"'


def _left_out(outline: Outline) -> Iterator[str]:
    if outline.dropped:
        told = (f"# {quoted(column.name)} {_plain(column.why)}" for column in outline.dropped)
        yield "\n".join(["# Left out, and so dropped from the events:", *told])


def _plain(text: str) -> str:
    """Within a comment, where TOML allows no control character."""
    return quoted(text)[1:-1]


def _encodings(outline: Outline, features: dict[str, Column]) -> Iterator[str]:
    form = '\nas = "logit"' if outline.labels.task == "binary" else ""
    yield "# An encoding is the mean label of the last events, by value: a half-life of 50 labels follows what changes." \
        f"\n[[encodings]]\nby = []\nhalf_life = [50, 500]{form}"  # fmt: skip
    categories = [
        name for name, column in features.items() if column.kind == "category" and len(column.counts) <= _ENCODED_VALUES
    ]
    for name in categories[:_ENCODED]:
        yield f"[[encodings]]\nby = [{quoted(name)}]\nhalf_life = [50, 500]{form}"


def _models(outline: Outline) -> str:
    name, model = _MODELS[outline.labels.task]
    lines = [
        "# The first candidate is champion to begin with; add others to compare, or a River estimator by `factory`.",
        "[[model.candidates]]",
        f'name = "{name}"',
        f'model = "{model}"',
    ]
    if rate := _rate(outline):
        lines.append(line(f"learning_rate = {rate:g}", "a weight's first step: goes with the size of the labels"))
    return "\n".join(lines)


def _rate(outline: Outline) -> float:
    """A regression's weights are in the labels' unit, and AdaGrad's first step is as large as its rate; 0: the default."""
    if outline.labels.task == "binary":
        return 0.0
    low, middle, high = quantiles(sorted(map(float, outline.labels.known)))
    rate = float(f"{_RATE_SHARE * max(high - low, abs(middle)):.1g}")
    return rate if sayable(rate) else 0.0
