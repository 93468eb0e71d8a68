"""``deadletter``: the original key, value and headers untouched, plus these headers (KIP-1034's names)."""

from __future__ import annotations

EXCEPTION = "__streams.errors.exception"
"""The exception's class, or the rule's name."""
MESSAGE = "__streams.errors.message"
"""Why it was refused, in words."""
STACKTRACE = "__streams.errors.stacktrace"
"""Where it was raised, as lines of code, the last 4 KiB of them; only where there was an exception."""
TOPIC = "__streams.errors.topic"
"""The raw record's topic."""
PARTITION = "__streams.errors.partition"
"""The raw record's partition."""
OFFSET = "__streams.errors.offset"
"""The raw record's offset."""
STAGE = "rivermill.stage"
"""The stage that refused it."""
RULE = "rivermill.rule"
"""The rule it broke, as in the cleaning rules."""
TRUNCATED_FROM = "rivermill.truncated_from"
"""Only if the original was too large for ``deadletter``, whose value is then its beginning: its size in bytes."""

REKEYED_FROM = "rivermill.rekeyed_from"
"""``topic/partition/offset`` of the raw record."""
ORIGINAL_KEY = "rivermill.original_key"
"""The raw record's key (absent when it had none)."""

STACKTRACE_MAX_BYTES = 4096
