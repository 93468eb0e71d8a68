"""What a start costs, without a clock: what is imported, and how often Python searches what was imported for cycles."""

from __future__ import annotations

import subprocess
import sys

import pytest

_STARTED = """
import gc, sys
sys.argv = ["service", "--help"]
from services.{service}.__main__ import main
try:
    main()
finally:
    print(*(generation["collections"] for generation in gc.get_stats()), *sys.modules)
"""
_MOST_SEARCHES = 60
"""Of the youngest generation: some come before and after the imports."""
_CLIENT = {"httpx", "stamina"}
_REGISTRY = {"alembic", "cyclopts", "litestar", "sqlalchemy", "uvicorn"}
_UNUSED = {
    "cleaning": _REGISTRY | _CLIENT,
    "scoring": _REGISTRY | {"numpy", "sqlite3"},
    "learner": _REGISTRY | {"numpy"},
    "drift": _REGISTRY | _CLIENT,
    "registry": {"faust", "numpy"},
}
_HEAVY = {"river", "pandas", "scipy", "sklearn", "services.cli"}


@pytest.mark.parametrize("service", list(_UNUSED))
def test_a_service_imports_what_it_uses(service: str) -> None:
    """No service imports what only others use, or River before a candidate needs it; importing searches nothing for cycles."""
    command = [sys.executable, "-c", _STARTED.format(service=service)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    youngest, _, oldest, *modules = ended.stdout.splitlines()[-1].split()
    assert (_UNUSED[service] | _HEAVY) & set(modules) == set()
    assert f"services.{service}.app" in modules
    assert int(youngest) < _MOST_SEARCHES
    assert int(oldest) == 0
