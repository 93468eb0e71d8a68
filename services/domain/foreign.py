"""Calling code that is not ours: an estimator may raise anything, and must not end what calls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ModelError(ValueError):
    """An estimator has failed: at what, and what it raised. Its cause is what it raised."""


@contextmanager
def foreign(doing: str) -> Iterator[None]:
    """Whatever is raised within is a ModelError, a panic of Rust and ``sys.exit()`` too; only Ctrl-C stays itself."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        message = f"{doing} failed: {type(error).__name__}: {error}"
        raise ModelError(message) from error
