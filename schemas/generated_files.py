"""Files that are generated: written where they are stale, or only named. Every ``generate`` of the project is one of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def stale(files: Mapping[Path, str], there: Iterable[Path] = ()) -> list[Path]:
    """The files that are missing or differ, and those of ``there`` that are none of them."""
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return wrong + sorted(path for path in there if path not in files)


def settle(files: Mapping[Path, str], wrong: Iterable[Path], root: Path, *, check: bool, advice: str) -> int:
    """Write those that are stale and remove those that belong to nothing; with ``check`` only name them, and end with
    the advice. They are named from ``root`` on. Returns the exit code: 1 for a check that has found some.
    """
    found = list(wrong)
    for path in found:
        print(f"{'stale' if check else 'written' if path in files else 'removed'}: {path.relative_to(root)}")
        if check:
            continue
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
    if check and found:
        print(advice)
    return 1 if check and found else 0
