"""Raw events and labels of the small pipeline of ``tests.unit.stream``, tidy or soiled."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.codec import to_ms
from services.cli.offline import Raw
from tests.unit.stream import START, events

LABEL_AFTER = timedelta(minutes=60)


def text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fields(count: int, seed: int = 1) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """An event a minute, and for nine in ten of them a label an hour later."""
    rng = random.Random(seed)  # noqa: S311 - reproducible test data
    sent, labels = [], []
    for index, features in enumerate(events(count, seed)):
        at = START + timedelta(minutes=index)
        sent.append({"id": f"e{index}", "time": text_of(at), **features})
        if rng.random() < 0.9:
            late = rng.random() < (0.7 if features["carrier"] in {"EV", "MQ"} else 0.2)
            labels.append({"id": f"e{index}", "late": late, "landed": text_of(at + LABEL_AFTER)})
    return sent, labels


def moment(record: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(record["landed" if "landed" in record else "time"])


def raw(record: dict[str, Any], lag: timedelta = timedelta()) -> Raw:
    label = "landed" in record
    at = moment(record) + (lag if label else timedelta())
    value = msgspec.json.encode(record)
    return Raw("label" if label else "event", to_ms(at), str(record["id"]).encode(), value)


def tidy(count: int, lag: timedelta = timedelta()) -> list[Raw]:
    """In order of time, a label before an event of the same moment."""
    sent, labels = fields(count)
    return sorted(
        (raw(each, lag) for each in [*labels, *sent]), key=lambda each: (each.timestamp, each.kind == "event")
    )


def soiled(count: int, seed: int = 3) -> list[Raw]:
    """Every third record has something wrong with its key or its value, comes twice, changes its mind, or never comes."""
    rng = random.Random(seed)  # noqa: S311 - reproducible test data
    out: list[Raw] = []
    for each in tidy(count):
        value, key = each.value or b"", each.key
        kinds = (
            [each] * 10,
            [msgspec.structs.replace(each, key=rng.choice((None, b"", b"other", b"e1")))],
            [msgspec.structs.replace(each, value=rng.choice((None, b"", b"{", b"\xff", b"[]", value[:-5])))],
            [msgspec.structs.replace(each, value=value.replace(b'"wind":', b'"wind":"x","was":'), key=key)],
            [msgspec.structs.replace(each, value=value[:-1] + b',"pad":"' + b"x" * 300_000 + b'"}')],
            [each, each],
            [each, msgspec.structs.replace(each, value=value.replace(b'"late":true', b'"late":false'))],
            [msgspec.structs.replace(each, value=value.replace(b"2013", b"2031"))],
            [],
        )
        chosen = kinds[0][:1] if rng.random() < 0.67 else rng.choice(kinds[1:])
        out += chosen
    return out
