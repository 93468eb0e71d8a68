"""Where the values of remembered predictions lie: how many in memory, and how the disk behaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.learner.core.join_restore import Restoring
from services.learner.core.ledger import Entry
from services.learner.core.values import MOST_BYTES_IN_MEMORY, MOST_IN_MEMORY, Values
from services.learner.disk import Disk, DiskError
from services.runtime.ending import exit_code
from tests.unit.learner.join_lane import PREDICTIONS, Lane, at, join, label, prediction, remembered
from tests.unit.room import room_for

MEGABYTE = 1024 * 1024


def entry(offset: int, value: bytes) -> Entry:
    return Entry(at(0), offset, b"%d" % offset, value)


def test_past_the_number_an_entry_holds_nothing_of_its_value() -> None:
    """The newest are in memory; the others are in the store alone, and leave it when they are forgotten."""
    store: dict[int, bytes] = {}
    core = join(store=store, most_in_memory=3)
    read = [prediction(offset, f"id{offset}", offset) for offset in range(10)]
    core.process(read, 0)
    values = {key: entry.value for key, entry in core.ledger.entries.items()}
    assert [values[b"id%d" % offset] for offset in range(10)] == [b""] * 7 + [record.value for record in read[7:]]
    assert store == {record.offset: record.value for record in read[:7]}
    core.process([prediction(10 + offset, f"w{offset}", 15) for offset in range(3)], 0)  # the deadline of five
    mark = core.expirable()
    assert mark is not None
    core.expire(mark)
    assert sorted(store) == [5, 6, 7, 8, 9]
    assert core.ledger.values.stored == 5


def test_a_restore_keeps_no_more_in_memory() -> None:
    """What lies in the state topic and what is read back goes to the store as it comes, not once all of it is there."""
    lane = Lane([prediction(i, f"id{i}", 0) for i in range(30)], spill_after=8, most_in_memory=3)
    lane.finish()
    assert len(lane.state) > 8
    core = join(store={}, spill_after=8, most_in_memory=3)
    restoring = Restoring(core, lane.checkpoint.data, lane.totals)
    read_back = lane.predictions[lane.checkpoint.low_water[PREDICTIONS] :]
    assert len(read_back) == 8
    for take, records in ((restoring.spilled, list(lane.state.values())), (restoring.predictions, read_back)):
        for start in range(0, len(records), 4):
            take(records[start : start + 4])
            assert sum(bool(entry.value) for entry in core.ledger.entries.values()) <= 3
    restoring.finish()
    assert remembered(core) == remembered(lane.core)


def test_a_correction_finds_its_prediction_on_disk() -> None:
    """A closed prediction has its value there until no label can come any more."""
    lanes = [
        Lane([prediction(0, "a", 1)], [label(0, "a", 2, True), label(1, "a", 3, False)], most_in_memory=most)
        for most in (0, MOST_IN_MEMORY)
    ]
    for lane in lanes:
        lane.finish()
        assert [lane.core.totals[state] for state in ("labelled", "corrected")] == [1, 1]
    assert lanes[0].core.ledger.values.stored == 1
    assert lanes[0].examples == lanes[1].examples


def test_large_values_are_fewer_in_memory() -> None:
    """As many as fit into the bytes, if they are as large as the newest: there are few predictions of many features."""
    store: dict[int, bytes] = {}
    values = Values(store, MOST_IN_MEMORY)
    fitting = MOST_BYTES_IN_MEMORY // MEGABYTE
    large = bytes(MEGABYTE)
    values.recent.extend(entry(offset, large) for offset in range(fitting + 2))
    values.settle()
    assert sorted(store) == [0, 1]
    values.recent.extend(entry(1000 + offset, b"small") for offset in range(fitting))
    values.settle()
    assert sorted(store) == [0, 1]
    assert len(values.recent) == 2 * fitting


def test_what_is_forgotten_holds_no_place_among_those_in_memory() -> None:
    """One that is remembered for long, before many that are not, goes to the store: the list of them stays short, and
    whoever was forgotten first has left it.
    """
    store: dict[int, bytes] = {}
    values = Values(store, 10)
    values.recent.append(entry(0, b"long"))
    for offset in range(1, 1000):
        one = entry(offset, b"short")
        values.recent.append(one)
        one.value = None
        values.settle()
        assert len(values.recent) <= 10
    assert store == {0: b"long"}
    assert not values.recent


def test_the_disk_keeps_what_it_is_given(tmp_path: Path) -> None:
    """Values come back by their offset, whatever the size, until they are removed; one that is not there is an error."""
    disk = Disk(tmp_path)
    told = {offset: os.urandom(size) for offset, size in enumerate((1, 500, 5_000, MEGABYTE, 0))}
    disk.update(told.items())
    del disk[1]
    disk.update([(2**40, b"far")])
    assert {offset: disk[offset] for offset in (0, 2, 3, 4)} == {k: v for k, v in told.items() if k != 1}
    assert disk[2**40] == b"far"
    with pytest.raises(KeyError):
        _ = disk[1]
    disk.close()


def test_nobody_meets_the_file_of_another(tmp_path: Path) -> None:
    """Two lanes, or two owners of a lane, on one data directory: each has its own, of which the folder shows nothing."""
    old, new = Disk(tmp_path), Disk(tmp_path)
    old.update([(0, b"old")])
    new.update([(0, b"new")])
    assert (old[0], new[0]) == (b"old", b"new")
    assert list(tmp_path.iterdir()) == []
    old.close()
    assert new[0] == b"new"
    new.close()


_HOLDER = """
import sys, time
from pathlib import Path
from services.learner.disk import Disk
disk = Disk(Path(sys.argv[1]))
disk.update((offset, bytes(1000)) for offset in range(10_000))
print("written", flush=True)
time.sleep(60)
"""


def test_a_killed_owner_leaves_nothing(tmp_path: Path) -> None:
    """After kill -9 there is no file for anybody to remove, and its space is free."""
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"written\n"
        assert list(tmp_path.iterdir()) == []
        holder.send_signal(signal.SIGKILL)
        assert holder.wait(10) == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_in_a_line(tmp_path: Path) -> None:
    """The service ends, to be started again, before anything is lost."""
    disk = Disk(tmp_path)
    with room_for(MEGABYTE), pytest.raises(DiskError, match="make room there") as error:
        disk.update((offset, bytes(1000)) for offset in range(10_000))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert exit_code(error.value) == 1
    disk.close()


def test_a_disk_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    """Without a folder, or where no file can be made."""
    with pytest.raises(DiskError, match="make room there"):
        Disk(tmp_path / "absent")
    with room_for(0), pytest.raises(DiskError, match="make room there"):
        Disk(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_room_is_used_again(tmp_path: Path) -> None:
    """What comes and goes takes no more room than what was there at a time."""
    disk = Disk(tmp_path)
    with room_for(4 * MEGABYTE):
        for offset in range(20_000):
            disk.update([(offset, bytes(1000))])
            if offset >= 2_000:
                del disk[offset - 2_000]
    assert disk[19_999] == bytes(1000)
    disk.close()
