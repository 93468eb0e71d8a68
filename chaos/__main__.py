"""Faults at random moments against a whole pipeline, and a verdict: nothing lost, nothing twice.

Starts Kafka, the registry and two processes of each service on this machine, feeds them a seeded script of events and
late labels at a steady rate, and meanwhile carries out a seeded plan of faults. Then everything is worked off, and a
simple read_committed reader, which shares no code with the services, checks every record of every topic.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from chaos import clock, report
from chaos.adversary import FAULTS, LONG, Act, plan
from chaos.run import Chaos, Result
from services.cli.broker_directory import BrokerError
from services.cli.interrupt import until_signal
from services.runtime.settings import SettingsError

_INTERRUPTED = 130
_EPILOG = "\n".join(
    [
        "faults:",
        *(f"  {name:14} {kind.what}" for name, kind in FAULTS.items()),
        "",
        "examples:",
        "  python -m chaos                           three minutes with a new seed",
        "  python -m chaos --seed 7                  the same script and the same plan as the last --seed 7 here",
        "  python -m chaos --kills 300 --json r.json until 300 processes were killed",
        "  python -m chaos --faults kill,broker      these faults alone",
        "  python -m chaos --apart --kills 20        each fault alone: what a recovery takes undisturbed",
        "",
        "Script and plan follow from the seed and the options, and the faults' order counts; a run prints the whole",
        "command that gives both again. At which record a fault strikes is the machine's affair.",
        "",
        "exit code: 0 nothing was violated, 1 something was (the records are named), 2 it could not start, 130 Ctrl-C",
    ]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run chaos; the exit code."""
    options = parser().parse_args(arguments)
    impossible = _impossible()
    for fault, why in impossible.items():
        print(f"the fault {fault} is left out: {why}")
    left_out = (*impossible, *(() if options.kills else LONG))
    usual = [name for name in FAULTS if name not in left_out]
    faults = options.faults.split(",") if options.faults else usual
    possible = [name for name in FAULTS if name not in impossible]
    if unknown := set(faults) - set(possible):
        parser().error(f"no such faults here: {', '.join(sorted(unknown))}; there are {', '.join(possible)}")
    if options.kills and "kill" not in faults:
        parser().error("--kills needs the fault kill among --faults")
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    acts = plan(
        seed,
        faults=faults,
        duration_s=options.duration,
        kills=options.kills,
        gap_s=options.gap,
        apart=options.apart,
    )
    if not acts:
        parser().error(f"no fault fits into --duration {options.duration:g} with --gap {options.gap:g}")
    print(f"seed {seed}: {len(acts)} acts in {acts[-1].at:.0f} s; replay with:\n  {replay(options, seed, faults)}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the broker is away is no news here
    try:
        with _folder(options.keep_data) as folder:
            result = _run(Path(folder), seed, acts, options.events)
    except (SettingsError, BrokerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if result is None:
        print("interrupted: no verdict; everything that was started has ended")
        return _INTERRUPTED
    print("\n".join(report.lines(result)))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    return 0 if result.holds else 1


def replay(options: argparse.Namespace, seed: int, faults: Sequence[str]) -> str:
    """The command that gives this script and this plan on any machine: every option that decides them, spelled out."""
    until = f"--kills {options.kills}" if options.kills else f"--duration {options.duration!r}"
    return (
        f"python -m chaos --seed {seed} {until} --gap {options.gap!r}{' --apart' if options.apart else ''} "
        f"--events {options.events!r} --faults {','.join(faults)}"
    )


def _impossible() -> dict[str, str]:
    """The faults that cannot be done here, and why."""
    found = {}
    if clock.library() is None:
        found["clock"] = "libfaketime is not installed (Debian: apt install libfaketime)"
    if sys.platform != "linux":
        found["full"] = "only Linux sets limits of a running process"
    return found


def _run(folder: Path, seed: int, acts: Sequence[Act], rate: float) -> Result | None:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    chaos = Chaos(folder, seed, acts, rate, say)
    return asyncio.run(until_signal(chaos.run(), chaos.stop()))


def _folder(kept: Path | None) -> tempfile.TemporaryDirectory[str] | nullcontext[Path]:
    if kept is None:
        return tempfile.TemporaryDirectory(prefix="rivermill-chaos-")
    kept.mkdir(parents=True, exist_ok=True)
    if any(kept.iterdir()):
        raise SettingsError(f"--keep-data: {kept} is not empty, and topics of an earlier run would be judged too")
    return nullcontext(kept)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -m chaos",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--seed", type=int, metavar="N", help="of script and plan; default: a new one")
    options.add_argument(
        "--duration",
        type=float,
        default=110.0,
        metavar="S",
        help="of the faults, default %(default)s; not with --kills",
    )
    options.add_argument("--kills", type=int, default=0, metavar="N", help="go on until the N-th kill -9 instead")
    options.add_argument(
        "--gap", type=float, default=4.0, metavar="S", help="between faults on average, default %(default)s"
    )
    options.add_argument(
        "--apart",
        action="store_true",
        help="each fault alone: the next one comes --gap after all is back and a calm of 5 to 10 s has passed",
    )
    options.add_argument("--events", type=float, default=250.0, metavar="RATE", help="a second, default %(default)s")
    options.add_argument(
        "--faults",
        metavar="A,B",
        help="these alone, in this order; default: all below that can be done here, but for outage without --kills",
    )
    options.add_argument(
        "--keep-data", type=Path, metavar="DIR", help="work in an empty DIR and leave it: logs, topics"
    )
    options.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE")
    return options


if __name__ == "__main__":
    sys.exit(main())
