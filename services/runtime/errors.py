"""What an operator can put right: told in one line, without a traceback."""

from __future__ import annotations


class OperatorError(Exception):
    """What happened, to what, what it means, what to do."""
