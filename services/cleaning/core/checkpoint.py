"""The core's part of a lane's checkpoint: small, whatever came in (at most some 60 KiB with 200 features)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime

import msgspec

from services.cleaning.core.features import Features
from services.cleaning.core.statistics import BooleanProfile, CategoryProfile, NumberProfile, Robust

_PROFILE = struct.Struct("<6d")


class NumberState(msgspec.Struct, array_like=True):
    """A number's profile and running median; ``floats`` are little-endian doubles (exact, and shorter than text)."""

    count: int
    missing: int
    blocks: int
    floats: bytes


class Saved(msgspec.Struct):
    """What a lane remembers besides the ids, which its own output tells."""

    received: list[datetime] = []
    numbers: dict[str, NumberState] = {}
    booleans: dict[str, BooleanProfile] = {}
    categories: dict[str, CategoryProfile] = {}
    unknown: dict[str, int] = {}


_SAVED = msgspec.json.Decoder(Saved | None)


def save(features: Features, received: list[datetime], unknown: Mapping[str, int]) -> bytes:
    """JSON of everything that later output depends on."""
    saved = Saved(received=received, unknown=dict(unknown))
    for i, (name, profile) in enumerate(zip(features.names, features.profiles, strict=True)):
        if isinstance(profile, NumberProfile):
            saved.numbers[name] = _number(profile, features.robust.get(i))
        elif isinstance(profile, BooleanProfile):
            saved.booleans[name] = profile
        else:
            saved.categories[name] = profile
    return msgspec.json.encode(saved)


def load(data: bytes, features: Features) -> Saved:
    """Put statistics back into ``features``; a feature that was not there, or was of another type, begins anew."""
    saved = _SAVED.decode(data) or Saved()
    for i, (name, profile) in enumerate(zip(features.names, features.profiles, strict=True)):
        if isinstance(profile, NumberProfile):
            if name in saved.numbers:
                features.profiles[i] = _restored(saved.numbers[name], features.robust.get(i))
        elif isinstance(profile, BooleanProfile):
            features.profiles[i] = saved.booleans.get(name, profile)
        else:
            features.profiles[i] = saved.categories.get(name, profile)
    features.wire()
    return saved


def _number(profile: NumberProfile, robust: Robust | None) -> NumberState:
    floats = _PROFILE.pack(profile.first, profile.total, profile.square, profile.low, profile.high, profile.last)
    if robust is None:
        return NumberState(profile.count, profile.missing, 0, floats)
    block = robust.block
    floats += struct.pack(f"<{2 + len(block)}d", robust.median, robust.mad, *block)
    return NumberState(profile.count, profile.missing, robust.blocks, floats)


def _restored(state: NumberState, robust: Robust | None) -> NumberProfile:
    more = state.floats[_PROFILE.size :]
    if robust is not None and more:
        robust.median, robust.mad, *block = struct.unpack(f"<{len(more) // 8}d", more)
        robust.blocks = state.blocks
        robust.block[:] = block[: robust.size - 1]
    return NumberProfile(state.count, state.missing, *_PROFILE.unpack_from(state.floats))
