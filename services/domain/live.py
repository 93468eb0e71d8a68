"""Live parameters: the encodings and every small candidate at one offset, as one signed record, never pickle.

Where the record would be too large, the encodings go alone: a pinned champion is served with the newest ones, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from schemas.parameters import LiveCandidate, LiveParameters
from schemas.predictions import ModelRef
from services.domain import linear, signing
from services.domain.columns import Columns, State
from services.domain.encodings import ServedEncodings
from services.domain.linear import Linear
from services.domain.served import Live, Part

MAX_BYTES = 512 * 1024
"""A larger record is not published."""
_PARAMETERS = msgspec.msgpack.Decoder(LiveParameters)
_STATE = msgspec.msgpack.Decoder(State)


def build(
    *,
    log_id: str,
    examples_offset: int,
    spec: str,
    columns: Columns,
    encodings: ServedEncodings,
    models: Mapping[str, Linear],
    versions: Mapping[str, int],
    label_came_in_ms: int,
) -> LiveParameters:
    """The unsigned record; ``versions`` are the last published ones (a candidate without one is left out)."""
    candidates = {
        name: LiveCandidate(versions[name], model.served()) for name, model in models.items() if name in versions
    }
    needed = columns if candidates else Columns(columns.plan)
    return LiveParameters(
        log_id=log_id,
        examples_offset=examples_offset,
        spec=spec,
        plan=msgspec.msgpack.encode(needed.state(served=True)),
        encodings=encodings.pack(),
        candidates=candidates,
        label_came_in_ms=label_came_in_ms,
    )


def seal(parameters: LiveParameters, key: bytes) -> bytes:
    """Sign and encode: the value of the ``live`` record."""
    parameters.signature = b""
    parameters.signature = signing.sign(msgspec.msgpack.encode(parameters), key)
    return msgspec.msgpack.encode(parameters)


def unseal(value: bytes, keys: Iterable[bytes]) -> LiveParameters:
    """Decode the record and verify its signature, before any of what it carries is decoded.

    Raises SignatureError, and msgspec's errors for what is no such record.
    """
    if len(value) > 2 * MAX_BYTES:
        message = f"live parameters of {len(value)} bytes: at most {MAX_BYTES} are ever published"
        raise signing.SignatureError(message)
    parameters = _PARAMETERS.decode(value)
    signature, parameters.signature = parameters.signature, b""
    signing.verify(msgspec.msgpack.encode(parameters), signature, keys, "the live parameters record")
    parameters.signature = signature
    return parameters


def position(parameters: LiveParameters) -> tuple[str, int]:
    """Which record is newer: the greater log id, then the greater offset."""
    return parameters.log_id, parameters.examples_offset


def read(parameters: LiveParameters, name: str) -> Live:
    """What can be served from a verified record; ``name`` is the pipeline's."""
    state = _STATE.decode(parameters.plan)
    columns = Columns(state.plan, state)
    encodings = ServedEncodings.unpack(parameters.encodings, state.plan)
    parts = {
        candidate: Part(
            ref=ModelRef(name, candidate, live.version, parameters.examples_offset),
            log_id=parameters.log_id,
            columns=columns,
            model=linear.load(live.parameters),
            encodings=encodings,
            label_came_in_ms=parameters.label_came_in_ms,
        )
        for candidate, live in parameters.candidates.items()
    }
    return Live(parts, encodings, position(parameters))
