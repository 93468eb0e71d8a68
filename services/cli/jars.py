"""Apache Kafka's jars: a pinned list of Maven artifacts, fetched by jgo into a cache, verified by SHA-256.

``python -m services.cli.jars`` fetches what is missing, ``--check`` only verifies the cache, ``--pin`` resolves the
list anew (after changing a version below) and writes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
"""Resolved apart: asked for together with Kafka it drags kafka-clients down to another version."""
PINS = Path(__file__).parent / "resources" / "kafka-jars.sha256"
_FETCH_THREADS = 8
_ATTEMPTS = 3

Progress = Callable[[str], None]


class JarsError(RuntimeError):
    """The jars could not be fetched or are not what the pinned list says."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One artifact, ``group:artifact:version``, and the SHA-256 its jar must have."""

    sha256: str
    coordinate: str

    def path(self, repository: Path) -> Path:
        """Where the jar lies in a repository laid out as Maven does."""
        group, artifact, version = self.coordinate.split(":")
        return repository / Path(*group.split(".")) / artifact / version / f"{artifact}-{version}.jar"

    def verified(self, repository: Path) -> bool:
        """Whether the jar is there with the pinned content."""
        path = self.path(repository)
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


def cache_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The cache that all checkouts share: RIVERMILL_CACHE_DIR, or ``rivermill`` in the user's cache directory."""
    if chosen := env.get("RIVERMILL_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rivermill"


def pins(pinned: Path = PINS) -> list[Pin]:
    """A pinned list (the broker's), in class path order."""
    return [Pin(*line.split()) for line in pinned.read_text(encoding="utf-8").splitlines() if line]


def missing(cache: Path, pinned: Path = PINS) -> list[Pin]:
    """The pinned jars that the cache does not hold with the pinned content."""
    return [pin for pin in pins(pinned) if not pin.verified(cache / "maven")]


def jars(env: Mapping[str, str] = os.environ, progress: Progress = lambda _: None, pinned: Path = PINS) -> list[Path]:
    """All jars of a pinned list (the broker's), fetched if need be; every one is verified each time (0.1 s).

    ``RIVERMILL_MAVEN_URL`` names a mirror of Maven Central. JarsError when a jar cannot be had as pinned.
    """
    cache = cache_dir(env)
    if missing(cache, pinned):
        with _locked(cache):
            _fetch(cache, missing(cache, pinned), _url(env), progress)
    return [pin.path(cache / "maven") for pin in pins(pinned)]


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Keep two processes from fetching into one cache at a time."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("w")
    except OSError as error:
        raise JarsError(f"the cache {cache} cannot be written ({error}): set RIVERMILL_CACHE_DIR to another") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(cache: Path, wanted: list[Pin], url: str, progress: Progress) -> None:
    context = _maven(cache / "maven", url)
    with ThreadPoolExecutor(_FETCH_THREADS) as pool:
        jobs = [pool.submit(_fetch_one, context, pin, cache / "maven", url) for pin in wanted]
        try:
            for count, job in enumerate(as_completed(jobs), start=1):
                job.result()
                progress(f"fetched {count} of {len(wanted)} Kafka jars")
        except JarsError:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(context: Any, pin: Pin, repository: Path, url: str) -> None:
    """Fetch one jar, again when it came incomplete; what is not as pinned is never left in the cache."""
    group, artifact, version = pin.coordinate.split(":")
    problem = "its SHA-256 is not the pinned one"
    for _ in range(_ATTEMPTS):
        pin.path(repository).unlink(missing_ok=True)
        try:
            context.project(group, artifact).at_version(version).artifact().resolve()
        except (OSError, RuntimeError, ValueError) as error:  # requests' errors are OSErrors
            problem = type(error).__name__
        if pin.verified(repository):
            return
    pin.path(repository).unlink(missing_ok=True)
    raise JarsError(
        f"{pin.coordinate} cannot be fetched from {url} ({problem}). The embedded broker needs Apache Kafka's jars "
        "once: check the network or proxy, or set RIVERMILL_MAVEN_URL to a mirror of Maven Central."
    )


def _url(env: Mapping[str, str]) -> str:
    try:
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - as in _maven
    except ImportError as error:
        raise JarsError(
            "the embedded broker's jars are fetched by the Python package jgo, which is missing: install the extra that "
            "brings it, rivermill[broker], or use a Kafka that runs (--broker, or RIVERMILL_BROKER)"
        ) from error
    return env.get("RIVERMILL_MAVEN_URL") or str(MAVEN_CENTRAL_URL)


def _maven(repository: Path, url: str) -> Any:
    from jgo.maven import MavenContext  # noqa: PLC0415 - 0.2 s, and only a first start needs it

    return MavenContext(repo_cache=repository, remote_repos={"maven": url}, timeout=30)


def _resolved(repository: Path, url: str) -> list[Pin]:
    """What Maven resolves today for the two coordinates, with the content's hashes."""
    context = _maven(repository, url)
    artifacts: dict[str, Any] = {}
    for coordinate in (KAFKA, LOG_BINDING):
        roots, transitive = context.resolver.resolve([context.create_dependency(coordinate)])
        chosen = [*roots, *(each for each in transitive if each.scope in ("compile", "runtime"))]
        for dependency in chosen if coordinate == KAFKA else chosen[:1]:
            artifact = dependency.artifact
            artifacts[f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"] = artifact
    return [
        Pin(hashlib.sha256(artifact.resolve().read_bytes()).hexdigest(), coordinate)
        for coordinate, artifact in sorted(artifacts.items())
    ]


def main(arguments: list[str]) -> int:
    """Fetch, ``--check`` or ``--pin``; the exit code is 1 when the cache does not hold what is pinned."""
    cache = cache_dir()
    if "--pin" in arguments:
        PINS.write_text(
            "".join(f"{pin.sha256} {pin.coordinate}\n" for pin in _resolved(cache / "maven", _url(os.environ)))
        )
    elif "--check" in arguments:
        if wrong := missing(cache):
            print(f"{cache}: missing or altered: {', '.join(pin.coordinate for pin in wrong)}", file=sys.stderr)
            return 1
    else:
        try:
            jars(progress=lambda line: print(line, flush=True))
        except JarsError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(f"{len(pins())} jars in {cache}, as pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
