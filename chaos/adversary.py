"""The adversary: which fault, against what, when and for how long. A pure function of the seed and the wishes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from chaos.recovery import CALM_MS
from chaos.script import CANDIDATES

SERVICES = ("cleaning", "scoring", "learner", "drift")
TWO = tuple(f"{service}{number}" for service in SERVICES for number in ("", "-2"))
"""Each service runs twice."""
SESSION_S = 6.0
"""A silent member of a consumer group is replaced after so long."""


class Kind(NamedTuple):
    """A kind of fault: how often it comes next to others, what it can strike, for how many seconds, what it does."""

    weight: int
    targets: tuple[str, ...]
    lasts_s: tuple[float, float]
    what: str


FAULTS = {
    "kill": Kind(8, (*TWO, "registry"), (0, 0), "kill -9; started again at once, under its static membership"),
    "lose": Kind(2, TWO, (10, 12), "kill -9; started again only after the others have taken its lanes"),
    "terminate": Kind(2, (*TWO, "registry"), (0, 0), "SIGTERM; started again at once"),
    "stall": Kind(2, TWO, (SESSION_S + 1, SESSION_S + 4), "SIGSTOP beyond the session timeout, then SIGCONT"),
    "scale": Kind(1, SERVICES, (2, 5), "1 process of a service, then 3, then 1 again"),
    "slow": Kind(1, ("learner", "learner-2"), (8, 15), "runs a fifth of the time (SIGSTOP and SIGCONT in turn)"),
    "broker": Kind(1, ("broker",), (3, 3), "Kafka stopped for 3 s (SIGSTOP)"),
    "outage": Kind(1, ("broker",), (30, 30), "Kafka stopped for 30 s; only with --kills, or when named"),
    "reboot": Kind(1, ("broker",), (0, 0), "Kafka shut down in order and started again"),
    "registry": Kind(1, ("registry",), (4, 8), "the registry stopped (SIGSTOP)"),
    "blobs": Kind(1, ("registry",), (4, 8), "the blob store cannot be written: a file lies where its folder was"),
    "full": Kind(1, ("registry",), (4, 8), "the registry's disk is full: RLIMIT_FSIZE 0, blobs and database alike"),
    "clock": Kind(1, ("services",), (4, 8), "the services' wall clock jumps by up to 40 minutes (libfaketime)"),
    "poison": Kind(1, ("script",), (0, 0), "300 records that cannot be used, in one burst"),
    "promote": Kind(1, CANDIDATES, (0, 0), "an operator's decision: this candidate is champion from now on"),
    "pin": Kind(1, CANDIDATES, (0, 0), "an operator's decision: its newest version, and no later one"),
}
KILLS = {"kill": "restarted", "lose": "lost"}
"""Those that end a process with SIGKILL, and what becomes of it."""
LONG = ("outage",)
"""Those that a run of minutes has no time for."""
HARMLESS = ("poison", "promote", "pin")
"""Those that stop nothing."""
_SOON = 1 / 3
_BACK_S = 7.0
"""A process is ready again after so long, though others keep every core busy."""
_SPANS, _STARTS = {"scale": 3}, {"scale": 2, "reboot": 2}
"""Of acts that last several times their seconds, or wait for more than one start."""


class Act(NamedTuple):
    """One fault of a plan, ``at`` seconds after the plan's start, for ``seconds``; ``number`` is for what it draws."""

    at: float
    fault: str
    target: str
    seconds: float
    number: int


def plan(
    seed: int,
    *,
    faults: Sequence[str] = tuple(FAULTS),
    duration_s: float = 0.0,
    kills: int = 0,
    gap_s: float = 4.0,
    apart: bool = False,
) -> list[Act]:
    """Acts in order, ``gap_s`` apart on average, for ``duration_s`` seconds or, if given, up to the ``kills``-th kill.

    A third of them strikes while the one before is hardly over; after ``lose`` the others wait twice as long, so that
    some of it is seen alone. With ``apart`` every act is alone: the next one comes ``gap_s`` on average after it is over
    and its calm has passed. Every wished fault comes once before any comes again, as far as there is time; after that
    by weight.
    """
    rng = random.Random(f"adversary {seed}")  # noqa: S311 - a reproducible plan, no secret
    first = rng.sample(list(faults), len(faults))
    weights = [FAULTS[fault].weight for fault in faults]
    acts: list[Act] = []
    at, killed = gap_s / 2, 0
    while killed < kills if kills else at < duration_s:
        fault = first.pop() if first else rng.choices(faults, weights)[0]
        killed += fault in KILLS
        kind = FAULTS[fault]
        acts.append(Act(at, fault, rng.choice(kind.targets), rng.uniform(*kind.lasts_s), rng.getrandbits(16)))
        if apart:
            at += _over_s(acts[-1]) + _calm_s(fault) + gap_s * rng.uniform(0, 2)
            continue
        pause = rng.uniform(0, 0.25) if rng.random() < _SOON else rng.uniform(1, 1.8)
        at += gap_s * pause * (2 if fault == "lose" else 1)
    return acts


def _over_s(act: Act) -> float:
    """An act is over after so long: what it struck is back."""
    starts = 0 if act.fault in HARMLESS else _STARTS.get(act.fault, 1)
    return act.seconds * _SPANS.get(act.fault, 1) + starts * _BACK_S


def _calm_s(fault: str) -> float:
    """How long nothing else may happen for what a fault did to be seen alone."""
    return CALM_MS[KILLS.get(fault, "restarted")] / 1000
