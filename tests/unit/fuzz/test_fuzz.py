"""The fuzzer reaches what it is for, and tells what it finds."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from fuzz import targets
from fuzz.__main__ import main
from fuzz.mutate import mutated
from services.cleaning.core import Clean
from services.cleaning.core.rules import REJECTIONS

DEEP = {
    "events": {"events.clean", "duplicate", "json_invalid", "bad_utf8", "id_missing", "id_invalid", "time_missing",
               "time_invalid"},
    "labels": {"labels.clean", "json_invalid", "label_invalid", "label_missing"},
    "live": {"read", "refused", "undecodable"}, "snapshot": {"read", "refused"}, "pipeline": {"read", "refused"},
}  # fmt: skip


@pytest.mark.parametrize("name", targets.TARGETS)
def test_mutations_reach_every_end_of_a_target(name: str) -> None:
    """Neither does all of it fall at the first hurdle, nor does anything end without a name."""
    rng, seeds = random.Random(3), targets.corpus(name)  # noqa: S311 - reproducible, no secret
    ends = Counter(targets.TARGETS[name].run(mutated(seeds, rng)) for _ in range(150 if name == "pipeline" else 1500))
    assert set(ends) >= DEEP[name]
    if name in ("events", "labels"):
        assert set(ends) <= REJECTIONS.keys() | {"events.clean", "labels.clean", "duplicate"}


def test_a_record_that_ends_nowhere_is_found_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A core that forgets its dead letters makes the run fail, with the bytes in a file that show it again."""
    with monkeypatch.context() as broken:
        broken.setattr(Clean, "_bury", lambda *_: None)
        assert main(["--target", "events", "--cases", "500", "--out", str(tmp_path)]) == 1
        (found,) = tmp_path.iterdir()
        with pytest.raises(targets.BrokenError, match="ended 0 times"):
            main(["--target", "events", "--file", str(found)])
    assert str(found) in capsys.readouterr().out
    assert main(["--target", "events", "--file", str(found)]) == 0
