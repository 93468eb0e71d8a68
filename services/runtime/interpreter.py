"""How the Python interpreter is set for lanes: no search for garbage cycles among records, and short turns of threads."""

from __future__ import annotations

import faulthandler
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_GC_THRESHOLD = (50_000, 20, 50)
"""A batch makes tens of thousands of objects that die with it: looking for cycles among them finds none.

What a cycle holds thus stays until there are as many such objects, for half an hour or more: nothing large may hang on one.
"""
_SWITCH_S = 0.00005
"""A thread that waits for the interpreter asks for it after so long.

Sending and receiving give it up all the time and start the waiting anew, so that with Python's own 5 ms a thread beside
busy lanes waits for seconds, and then keeps the lanes waiting for 5 ms at a time.
"""


def tune() -> None:
    """Set it for this process; what has been imported by now is left out of every search for cycles."""
    faulthandler.enable()  # a crash of the interpreter itself tells where
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    sys.setswitchinterval(_SWITCH_S)


@contextmanager
def building() -> Iterator[None]:
    """Make very many objects that stay: no search for cycles looks at them while they are made, or soon after.

    They end up where those that have outlived every search are.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.enable()
