"""What is fuzzed: each target takes bytes, and raises when they were not dealt with as promised."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.events import CleanEvent
from schemas.labels import CleanLabel
from schemas.parameters import LiveParameters
from services.cleaning.core import Clean, Inputs
from services.domain import live, snapshot
from services.domain.records import Header, Out
from services.domain.signing import SignatureError
from services.domain.spec import Spec, SpecError, parse

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
_KEY = b"a key for fuzzing alone"
_INPUTS = Inputs(events="fuzz.events.raw", labels="fuzz.labels.raw", rekeyed="fuzz.rekeyed")
_NOW = 1_735_787_045_000
_PARTITIONS = 1  # nothing is re-keyed: all of it is cleaned
_EVENT, _LABEL = msgspec.json.Decoder(CleanEvent), msgspec.json.Decoder(CleanLabel)


class BrokenError(AssertionError):
    """Bytes were not dealt with as promised."""


class Record(NamedTuple):
    """A raw record, as the cleaning core reads it."""

    topic: str
    value: bytes
    partition: int = 0
    offset: int = 0
    timestamp: int = _NOW
    key: bytes | None = None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True)
class Target:
    """``run`` says in a word what became of the bytes; anything that it raises is a finding. ``weight`` is its share of cases."""

    run: Callable[[bytes], str]
    weight: int
    what: str


@cache
def _spec() -> Spec:
    return parse((HERE / "pipeline.toml").read_text(encoding="utf-8"))


@cache
def _clean() -> Clean:
    return Clean(_spec(), 0, _PARTITIONS, _INPUTS)


def _cleaned(topic: str, value: bytes) -> str:
    """A record ends in exactly one place: clean, re-keyed, a duplicate, or a dead letter that holds it."""
    core = _clean()
    before = Counter(core.totals)
    out = core.process([Record(topic, value)], _NOW)
    ends = [(stream, sent) for (stream, _), sents in out.sends.items() for sent in sents]
    moved = Counter(core.totals) - before
    if len(ends) + moved["duplicates"] != 1:
        raise BrokenError(f"ended {len(ends)} times and as {moved['duplicates']} duplicates")
    if moved["duplicates"]:
        return "duplicate"
    (stream, sent) = ends[0]
    _CHECKS[stream](sent, value)
    if stream == "deadletter":
        return next(name.rpartition(".")[2] for name in moved if name.startswith("deadletter."))
    return stream


def _is_event(sent: Out, _: bytes) -> None:
    numbers = (it for it in _EVENT.decode(sent.value or b"").features.values() if isinstance(it, float))
    if not all(map(math.isfinite, numbers)):
        raise BrokenError("a clean event has a number that is not finite")


def _is_label(sent: Out, _: bytes) -> None:
    if not isinstance(_LABEL.decode(sent.value or b"").label, bool):
        raise BrokenError("a clean label is no boolean")


def _is_original(sent: Out, value: bytes) -> None:
    if sent.value != value:
        raise BrokenError("the original bytes are not in the output")
    if any(name == "rivermill.rule" and content == b"unexpected" for name, content in sent.headers):
        raise BrokenError("cleaning failed in a way that nobody foresaw")


_CHECKS = {
    "events.clean": _is_event, "labels.clean": _is_label, "deadletter": _is_original, "rekeyed": _is_original,
}  # fmt: skip


def _event(value: bytes) -> str:
    return _cleaned(_INPUTS.events, value)


def _label(value: bytes) -> str:
    return _cleaned(_INPUTS.labels, value)


def _live(value: bytes) -> str:
    """Refused by what scoring's follower catches; as if its signer had gone mad, too."""
    try:
        live.unseal(value, [_KEY])
    except SignatureError:
        pass
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "undecodable"
    try:
        sealed = live.seal(msgspec.msgpack.decode(value, type=LiveParameters), _KEY)
        live.read(live.unseal(sealed, [_KEY]), "fuzz")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, KeyError):
        return "refused"
    return "read"


def _snapshot(value: bytes) -> str:
    """Refused by SnapshotError alone, although it is signed as it should be."""
    try:
        snapshot.read(value, snapshot.sign(value, _KEY), [_KEY])
    except snapshot.SnapshotError:
        return "refused"
    return "read"


def _pipeline(value: bytes) -> str:
    """Refused by SpecError, with something said."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "not UTF-8"  # told by whoever reads the file
    try:
        parse(text)
    except SpecError as error:
        if not str(error).strip():
            raise BrokenError("an error that says nothing") from error
        return "refused"
    return "read"


TARGETS = {
    "events": Target(_event, 60, "a raw event, cleaned"),
    "labels": Target(_label, 20, "a raw label, cleaned"),
    "live": Target(_live, 10, "a record of live parameters"),
    "snapshot": Target(_snapshot, 9, "a snapshot file, rightly signed"),
    "pipeline": Target(_pipeline, 1, "a pipeline file"),
}


def corpus(target: str) -> list[bytes]:
    """The committed seeds of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]
