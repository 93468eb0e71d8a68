"""``deadletter``: the original key, value and headers untouched, plus these headers (KIP-1034's names)."""

from __future__ import annotations

EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
STACKTRACE = "__streams.errors.stacktrace"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
STAGE = "rivermill.stage"
RULE = "rivermill.rule"

REKEYED_FROM = "rivermill.rekeyed_from"
"""On ``rekeyed`` only: ``topic/partition/offset`` of the raw record."""
ORIGINAL_KEY = "rivermill.original_key"
"""On ``rekeyed`` only: the raw record's key (absent when it had none)."""

STACKTRACE_MAX_BYTES = 4096
