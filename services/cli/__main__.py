"""``rivermill``: the one command. Its parts are imported when they are used, so that ``--help`` answers at once."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from cyclopts import App, CycloptsError, Group

_RUN = Group("Run", sort_key=1)
_LOOK = Group("Look", sort_key=2)
_CHANGE = Group("Change", sort_key=3)
_HELP = """
Event-driven streaming MLOps on Kafka: raw events and late labels in, live predictions out, from a model that keeps
learning, and alerts when and why it stops being right.

Begin with `rivermill demo`: it replays real flights through everything, on this machine. Then let `rivermill init`
write a first pipeline file from a sample of your own events (examples/flights/pipeline.toml explains every key), let
`rivermill check` read it, and run it with `rivermill up`. While one runs, `rivermill status`, `rivermill tail predictions` and `rivermill tail alerts`
find it by themselves.
"""
_EPILOGUE = "`rivermill COMMAND --help` has examples. Exit codes: 0 well, 1 not, 2 something that you can put right."
_INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has ended, as of any that a shell runs."""
_TOLD = {
    "OperatorError", "SpecError", "SettingsError", "BrokerError", "RegistryError", "LogTruncatedError", "ProduceError", "FlightsError",
}  # fmt: skip
"""Exceptions whose message says what happened and what to do."""
_COMMANDS = (
    (
        "init", "services.cli.init_command:init", _RUN,
        "Write a commented first pipeline file from a sample of events and labels.",
    ),
    (
        "demo", "services.cli.demo:demo", _RUN,
        "Replay the flights out of New York in 2013 through everything, and watch a model learn which will be late.",
    ),
    ("up", "services.cli.up:up", _RUN, "Run a pipeline on this machine: broker, topics, registry and services."),
    (
        "produce", "services.cli.produce_command:produce", _RUN,
        "Send events or labels to a pipeline, as a producer of your own would.",
    ),
    (
        "broker", "services.cli.broker_command:command", _RUN,
        "Apache Kafka on this machine, loopback only, in the background: start, stop, status.",
    ),
    (
        "backtest", "services.cli.backtest:backtest", _LOOK,
        "Replay the past through a pipeline, and measure what it would have predicted.",
    ),
    (
        "check", "services.cli.check_command:check", _LOOK,
        "Read a pipeline file, say what is wrong with it by line and key, try its candidates, and explain what it means.",
    ),
    (
        "status", "services.cli.status:status", _LOOK,
        "Show where a pipeline stands: every stage's lanes, the champion, open incidents, and the account.",
    ),
    (
        "doctor", "services.cli.doctor_command:doctor", _LOOK,
        "Look at everything that a pipeline needs: broker, topics, groups, access, registry, token, clocks, key, disk.",
    ),
    (
        "top", "services.cli.top:top", _LOOK,
        "Watch a running pipeline: stages, processes, labels, dead letters, the champion, open incidents.",
    ),
    ("tail", "services.cli.tail:tail", _LOOK, "Show the records of a stream, committed ones only, until Ctrl-C."),
    (
        "deadletter", "services.cli.deadletters:command", _LOOK,
        "Look at what was refused: by which rule, and each record as it came.",
    ),
    (
        "topics", "services.cli.topics_command:topics", _LOOK,
        "List the topics of a pipeline: partitions, how long records stay, who writes and who reads.",
    ),
    (
        "models", "services.cli.models:command", _CHANGE,
        "Versions in the registry: which are served, promote, roll back, pin, release.",
    ),
    (
        "tokens", "services.cli.tokens:command", _CHANGE,
        "Make, list and revoke the registry's API tokens, in its database: `RIVERMILL_REGISTRY_DATABASE`, or the file in "
        "the data directory. The registry may run meanwhile.",
    ),
    (
        "reset", "services.cli.topics_command:reset", _CHANGE,
        "Delete everything a pipeline has in Kafka: its topics, its state, its groups. Asks first.",
    ),
)  # fmt: skip
"""Name, where it is, group, and what ``--help`` says of it: the first sentence of its own help."""


def application(*, listed: bool = False) -> App:
    """The command line; ``listed`` tells what each command is for as the list has it, so that none needs importing."""
    app = App(name="rivermill", help=_HELP, help_epilogue=_EPILOGUE, help_format="markdown", version=_version)
    app["--help"].group = app["--version"].group = Group("Options", sort_key=9)
    for name, place, group, purpose in _COMMANDS:
        app.command(place, name=name, group=group, help=purpose if listed else None)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    listed = given[:1] in ([], ["--help"], ["-h"])
    if not listed:
        _quiet()
    sys.path.append("")  # the current directory, where `python -m services.learner` also finds a candidate's factory
    try:
        code = application(listed=listed)(given, result_action="return_value", exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again when it ends
        sys.exit(1)
    except Exception as error:
        if (line := _explained(error)) is None:
            raise
        print(f"rivermill: {line}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _quiet() -> None:
    """A command tells what happened itself: the libraries' own warnings would only repeat it."""
    import structlog  # noqa: PLC0415 - as long in coming as all that `--help` needs

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _explained(error: Exception) -> str | None:
    """The one line for what a user can put right; None for what is a fault of ours.

    By name, since importing the modules that define them would cost every ``--help`` half a second.
    """
    names = {base.__name__ for base in type(error).__mro__}
    if isinstance(error, CycloptsError):
        return f"{error} Try `{' '.join(['rivermill', *(error.command_chain or ())])} --help`."
    if names & _TOLD:
        return str(error)
    if "KafkaError" in names:
        return f"Kafka did not answer as it should ({type(error).__name__}: {error}): check that the broker runs"
    return None


def _version() -> str:
    try:
        return version("rivermill")
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
