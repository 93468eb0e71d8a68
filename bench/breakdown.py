"""Where scoring's time goes: the service at work on a full topic, looked at from outside 500 times a second by py-spy.

A sample counts for the innermost of its frames that belongs to a part; CPU is the process's own clock's. With --write the
table goes to RESULTS.md, and the whole picture, frame by frame, to flame.svg. Input and model are those of
python -m bench.peers.
"""

from __future__ import annotations

import argparse
import asyncio
import linecache
import logging
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import kafka, results, versions
from bench.clock import cpu_seconds
from bench.peers.catalogue import OURS
from bench.peers.session import PeerError, Session, Sizes
from bench.processes import ROOT, last_words
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal

SPY = ROOT / ".venv-bench" / "bin" / "py-spy"
FLAME = Path(__file__).parent / "flame.svg"
_PARTITIONS = 4
_LOOK_EVERY_S = 0.02
_FRAME = re.compile(r"^(?P<name>.*) \((?P<file>[^()]*?)(:(?P<line>\d+))?\)$")
_TITLE = re.compile(rb'(<text id="title"[^>]*>)[^<]*')
_CORE = "services/scoring/core.py"
PARTS = (
    ("compress", r"snappy_encode|lz4_encode|runtime/compression"),
    ("decompress", r"snappy_decode|lz4_decode|zstd_decode"),
    ("decode the event (msgspec)", rf"{_CORE}: .*_decode|services/domain/numbers"),
    ("score: encodings, standardisation, model", r"services\.domain\.together|services/domain/"),
    ("encode the prediction (msgspec)", rf"{_CORE}: .*(encode\(|_Prediction\(|event\.event_id, event\.time)"),
    ("the core's own loop", _CORE),
    ("metrics", r"prometheus_client|runtime/gauges|runtime/metrics"),
    ("produce: records to batches", r"message_accumulator|^_batches \("),
    ("fetch: batches to records", r"runtime/(inputs|wire|merge)\.py|aiokafka/consumer/|aiokafka/record/"),
    ("transactions and requests", r"runtime/transactions|aiokafka/producer/|aiokafka/protocol/"),
    ("sockets and the event loop", r"aiokafka/(conn|client)\.py|asyncio/|uvloop|selectors\.py|mode/worker\.py"),
    ("lane", r"services/runtime/"),
)
"""Name and pattern of each part, matched against ``function (file: source line)``, in this order for one frame."""
_REST = "everything else (Faust, membership, threads)"


def part_of(stack: str) -> str:
    """The part that a collapsed stack (``outermost;…;innermost``) counts for."""
    for frame in reversed(stack.split(";")):
        text = _told(frame)
        for name, pattern in PARTS:
            if re.search(pattern, text):
                return name
    return _REST


def _told(frame: str) -> str:
    """The frame with the text of its source line in place of the number."""
    found = _FRAME.match(frame)
    if found is None or not found["line"]:
        return frame
    source = linecache.getline(str(ROOT / found["file"]), int(found["line"])).strip()
    return f"{found['name']} ({found['file']}: {source})"


def shares(collapsed: Iterable[str]) -> dict[str, float]:
    """Part by part, of all samples; from lines ``stack count``. ValueError without samples."""
    counts: Counter[str] = Counter()
    for line in collapsed:
        stack, _, count = line.rstrip().rpartition(" ")
        counts[part_of(stack)] += int(count)
    if not counts:
        raise ValueError("py-spy took no sample")
    return {name: counts[name] / counts.total() for name in (*(name for name, _ in PARTS), _REST) if counts[name]}


def say(line: str) -> None:
    print(line, flush=True)


async def sampled(session: Session) -> tuple[dict[str, float], float, bytes]:
    """Shares by part, CPU microseconds an event, and the flame graph."""
    await session.open()
    settings, sink = session.pipeline.settings, session.sink(OURS)
    await kafka.recreate(settings, [sink, session.pipeline.topic("state.scoring")])
    raw, svg = session.folder / "samples.txt", session.folder / "flame.svg"
    async with kafka.Ends(settings, sink.name, sink.partitions) as ends:
        command, env = session.command(OURS, "breakdown")
        service = await session.processes.start(command, env, session.log(OURS))
        await _reach(session, ends, service, session.sizes.warm_up)
        spies = [await _spy(session, service.pid, "raw", raw), await _spy(session, service.pid, "flamegraph", svg)]
        before, first = cpu_seconds(service.pid), sum(await ends.appended())
        say("sampling")
        await _reach(session, ends, service, session.sizes.total)
        used, events = cpu_seconds(service.pid) - before, sum(await ends.appended()) - first
        for spy in spies:
            spy.send_signal(signal.SIGINT)
            await spy.wait()
    return (
        shares(raw.read_text(encoding="utf-8").splitlines()),
        used / events * 1e6,
        _TITLE.sub(rb"\1Scoring, exactly once", svg.read_bytes()),
    )


async def _reach(session: Session, ends: kafka.Ends, service: asyncio.subprocess.Process, count: int) -> None:
    while sum(await ends.appended()) < count:
        if service.returncode is not None:
            raise PeerError(f"scoring ended: {last_words(session.log(OURS))}")
        await asyncio.sleep(_LOOK_EVERY_S)


async def _spy(session: Session, pid: int, form: str, output: Path) -> asyncio.subprocess.Process:
    command = [
        str(SPY), "record", "--pid", str(pid), "--rate", "500", "--nonblocking", "--duration", "600", "--format", form,
        "--output", str(output),
    ]  # fmt: skip
    return await session.processes.start(command, {}, session.folder / f"py-spy-{form}.log")


def table(found: dict[str, float], cpu_us: float) -> list[str]:
    """The parts in the order of their cost."""
    lines = ["| part of scoring | share of its CPU | µs an event |", "|---|---|---|"]
    for name, share in sorted(found.items(), key=lambda it: -it[1]):
        lines.append(f"| {name} | {share:.1%} | {share * cpu_us:.2f} |")
    return [*lines, f"| all | 100 % | {cpu_us:.2f} |"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.breakdown", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=600_000, help="looked at (600000)")
    parser.add_argument("--warm-up", type=int, default=150_000, help="events before (150000)")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md and flame.svg")
    wanted = parser.parse_args(arguments)
    if not SPY.exists():
        sys.exit("error: .venv-bench is missing or older than py-spy in it: run `make bench`, which makes it")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of topics that are not there yet
    with tempfile.TemporaryDirectory(prefix="rivermill-bench-") as folder:
        session = Session(Path(folder), Sizes(wanted.warm_up, wanted.events, _PARTITIONS), say)
        try:
            outcome = asyncio.run(until_signal(sampled(session), session.close()))
        except (BrokerError, PeerError) as error:
            sys.exit(f"error: {error}")
    if outcome is None:
        return 130
    found, cpu_us, flame = outcome
    lines = [
        *table(found, cpu_us),
        "",
        *results.circumstances("breakdown", ("aiokafka", "msgspec"), versions.broker()),
    ]
    say("\n" + "\n".join(lines))
    if wanted.write:
        results.put("breakdown", lines)
        FLAME.write_bytes(flame)
    return 0


if __name__ == "__main__":
    sys.exit(main())
