"""The documentation says what the code does: tables are complete, links resolve, commands exist."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cyclopts import App, CycloptsError
from prometheus_client.metrics import MetricWrapperBase

from chaos.adversary import FAULTS
from services.cleaning.core.rules import REJECTIONS, REPAIRS
from services.cli.__main__ import application
from services.domain import spec_tables
from services.domain.spec import parse
from services.registry import metrics as registry_metrics
from services.runtime import metrics as runtime_metrics
from tests.composed import compose

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
TABLES = {
    spec_tables.PipelineTable: "[pipeline]",
    spec_tables.TopicsTable: "[topics]",
    spec_tables.EventTable: "[event]",
    spec_tables.LabelTable: "[label]",
    spec_tables.Feature: "[features.NAME]",
    spec_tables.Outliers: "outliers",
    spec_tables.Cross: "[[crosses]]",
    spec_tables.Encoding: "[[encodings]]",
    spec_tables.Candidate: "[[model.candidates]]",
    spec_tables.SnapshotsTable: "[snapshots]",
    spec_tables.DriftTable: "[drift]",
    spec_tables.Block: "block",
}
"""Which section of the page on the pipeline file describes which Struct."""
RUN = {
    ("docs/clients.md", ""): "tests/integration/test_clients.py",
    ("docs/operating.md", "SQLite"): "tests/integration/test_registry.py",
    ("docs/operating.md", "PostgreSQL"): "tests/integration/test_registry.py",
    ("docs/operating.md", "Changing the pipeline file"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Changing the signing key"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Dead letters"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Looking for what is wrong"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Models"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Reset"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Scaling"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Upgrading"): "tests/integration/test_operating.py",
    ("docs/operating.md", "Who may do what in Kafka"): "tests/integration/security/test_access_lists.py",
    ("docs/operating.md", "Who may use the registry"): "tests/integration/test_operating.py",
    ("docs/own-topics.md", ""): "tests/journeys/test_own_topics.py",
    ("docs/quickstart.md", ""): "tests/journeys/test_quickstart.py",
    ("docs/runbook.md", ""): "tests/integration/test_operating.py",
}
"""Pages, or sections of them, whose blocks a test runs as they stand there, and which."""
NOT_RUN = {
    (
        "docs/deploying.md",
        "",
    ): "needs a container engine; the services it starts run in tests/integration/test_compose.py, "
    "and what it runs in them is read by the command's own parser",
    ("docs/kubernetes.md", ""): "needs a cluster; what it applies is rendered and validated in tests/unit/kubernetes",
}
"""Pages, or sections of them, with blocks that no test runs though they are not only this project's commands, and why."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_OWN = re.compile(r"\s*(#|$|(\.venv/bin/)?rivermill |make |(\.venv/bin/)?python -m )")
_SETTING = re.compile(r"RIVERMILL_[A-Z0-9_]*[A-Z0-9]\b(?!_)")


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    _, found, rest = page.partition(f" {heading}\n")
    assert found, f"docs/pipeline-file.md has no section {heading!r}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def shown_default(field: msgspec.structs.FieldInfo) -> str:
    """A key's default as the page writes it."""
    if field.required:
        return "required"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(default, msgspec.Struct):
        return "a table, below"
    if default is None or default in ((), {}):
        return "none"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_key_of_the_pipeline_file_is_described_with_its_default(table):
    """The section of each Struct has a row for each of its keys, with the default that the code has, and no other rows."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section(text("pipeline-file.md"), TABLES[table]), re.MULTILINE)
    assert {key: default.strip() for key, default in rows} == {
        field.encode_name: shown_default(field) for field in msgspec.structs.fields(table)
    }


def test_every_struct_of_the_pipeline_file_has_a_section():
    """No Struct of the pipeline file is missing from the page but those that only hold others, whose keys it names."""
    structs = {
        found
        for _, found in inspect.getmembers(spec_tables, inspect.isclass)
        if issubclass(found, msgspec.Struct) and found.__module__ == spec_tables.__name__
    }
    holders = structs - set(TABLES)
    assert holders == {spec_tables.Spec, spec_tables.ModelTable}
    for holder in holders:
        for field in msgspec.structs.fields(holder):
            assert f"`{field.encode_name}`" in text("pipeline-file.md")


def test_the_pipeline_files_in_the_docs_are_valid():
    """Each fenced TOML block that begins a pipeline is a pipeline file without mistakes."""
    blocks = [
        block
        for page in PAGES
        for kind, block in _FENCE.findall(page.read_text(encoding="utf-8"))
        if kind == "toml" and "[pipeline]" in block
    ]
    assert blocks
    for block in blocks:
        parse(block)


@pytest.mark.parametrize("rules", [REPAIRS, REJECTIONS], ids=["repairs", "rejections"])
def test_every_cleaning_rule_is_listed_as_the_code_describes_it(rules):
    """The table has each rule's name and meaning, word for word."""
    missing = [
        row for name, meaning in rules.items() if (row := f"| `{name}` | {meaning} |") not in text("cleaning-rules.md")
    ]
    assert not missing, "add to docs/cleaning-rules.md:\n" + "\n".join(missing)


def metric_rows(module: object) -> Iterator[str]:
    for metric in vars(module).values():
        if isinstance(metric, MetricWrapperBase):
            name = f"{metric._name}_total" if metric._type == "counter" else metric._name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "-"
            yield f"| `{name}` | {metric._type} | {unit(name)} | {labels} | {metric._documentation} |"


def unit(name: str) -> str:
    """The base unit that a metric's name ends in, as Prometheus has it."""
    last = name.removesuffix("_total").rpartition("_")[2]
    return last if last in {"seconds", "bytes", "ratio", "records"} else "-"


@pytest.mark.parametrize("module", [runtime_metrics, registry_metrics], ids=["services", "registry"])
def test_every_metric_is_listed_as_the_code_describes_it(module):
    """The table has each metric's name, type, unit, labels and meaning, word for word, and none that is gone."""
    rows = list(metric_rows(module))
    page = text("metrics.md").splitlines()
    missing = [row for row in rows if row not in page]
    assert rows
    assert not missing, "add to docs/metrics.md:\n" + "\n".join(missing)
    known = {row for each in (runtime_metrics, registry_metrics) for row in metric_rows(each)}
    gone = [line for line in page if line.startswith("| `rivermill_") and line not in known]
    assert not gone, "take out of docs/metrics.md:\n" + "\n".join(gone)


def test_every_setting_is_described():
    """Every environment variable that the services' code names is on the operator's page, and no other."""
    named = {
        name
        for file in (ROOT / "services").rglob("*.py")
        for name in _SETTING.findall(file.read_text(encoding="utf-8"))
    }
    described = set(_SETTING.findall(text("operating.md")))
    assert {name for name in named - described if name.removesuffix("_FILE") not in described} == set()
    assert {name for name in described - named if name.removesuffix("_FILE") not in named} == set()


def test_every_secret_that_may_be_in_a_file_is_marked_so():
    """The settings with a star on the operator's page are those that the code also reads from a file."""
    code = "".join(
        (ROOT / "services" / each / "settings.py").read_text(encoding="utf-8") for each in ("runtime", "registry")
    )
    secrets = set(re.findall(r'\b(?:secret|_key)\(env, "(\w+)"\)', code))
    assert set(re.findall(r"^\| `(\w+)` \* \|", text("operating.md"), re.MULTILINE)) == secrets


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_resolves(page):
    """A relative link names a file of the repository, and its anchor a heading of that file."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} does not exist"
        if anchor and file.suffix == ".md":
            anchors = {slug(heading) for heading in _HEADING.findall(file.read_text(encoding="utf-8"))}
            assert anchor in anchors, f"{target}: no such heading"


def commands(page: Path) -> Iterator[str]:
    for kind, block in _FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s\|\s", line.split("  #")[0]):
                    yield part.strip()


def in_container(words: list[str]) -> list[str]:
    """What a shown `docker compose` command runs in the container of a service, which must be there."""
    _, _, verb, *rest = words
    services = compose({})["services"]
    named = [word.partition("=")[0] for flag, word in itertools.pairwise(rest) if flag == "--scale"]
    if verb in ("exec", "run", "restart", "logs", "build"):
        named += [word for word in rest if not word.startswith("-") and "=" not in word]
        named = named if verb == "restart" else named[:1]
        assert named
    assert set(named) <= services.keys(), words
    return rest[rest.index(named[0]) + 1 :] or [""] if verb in ("exec", "run") else [""]


def demo_takes(app: App, words: list[str]) -> None:
    """The ARGS of a shown `make demo` are ones that the demo takes."""
    for word in words:
        if words[1] == "demo" and word.startswith("ARGS="):
            app.parse_args(["demo", *shlex.split(word.removeprefix("ARGS="))], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page):
    """Shown commands are ones of rivermill, with options that it takes, targets of the Makefile, or modules; those that
    run in a container name a service of the file.
    """
    app = application()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in commands(page):
        words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word) and word != "&"]
        program, *arguments = in_container(words) if words[:2] == ["docker", "compose"] else words or [""]
        if program.removeprefix(".venv/bin/") == "rivermill":
            try:
                app.parse_args(arguments, exit_on_error=False, print_error=False)
            except CycloptsError as error:
                pytest.fail(f"{command}: {error}")
        elif program == "make":
            assert set(arguments) <= targets, command
            demo_takes(app, shlex.split(command))
        elif program.removeprefix(".venv/bin/") == "python" and arguments[:1] == ["-m"]:
            assert importlib.util.find_spec(arguments[1]), command


def shown() -> Iterator[tuple[str, str, bool]]:
    """Page and heading of each block of commands or Python, and whether all that is in it is this project's own command."""
    for page in PAGES:
        text, heading = page.read_text(encoding="utf-8"), ""
        for found in re.finditer(rf"{_FENCE.pattern}|^#+ ([^\n]+)$", text, _FENCE.flags):
            kind, block, title = found.groups()
            heading = title or heading
            own = all(_OWN.match(line) for line in (block or "").replace("\\\n", " ").splitlines())
            if kind in ("python", "sh"):
                yield str(page.relative_to(ROOT)), heading, own and kind == "sh"


def test_every_other_block_is_run():
    """What the test above does not read by the command's own parser is run by a test, or listed with a reason."""
    found = {(page, heading) for page, heading, _ in shown()}
    unchecked = {(page, heading) for page, heading, own in shown() if not own}
    listed = {(page, heading) for page, heading in unchecked if {(page, heading), (page, "")} & {*RUN, *NOT_RUN}}
    assert unchecked - listed == set()
    for page, heading in (*RUN, *NOT_RUN):
        assert any(place[0] == page and heading in {"", place[1]} for place in found), f"{page} {heading} is gone"
    for (page, heading), test in RUN.items():
        runs = (ROOT / test).read_text(encoding="utf-8")
        assert Path(page).name in runs
        assert heading in runs


def test_every_block_of_the_operators_page_is_run():
    """There those of this project's own commands are run as well, not only read."""
    page = "docs/operating.md"
    assert {heading for where, heading, _ in shown() if where == page} == {it for where, it in RUN if where == page}


def test_the_tests_that_the_docs_name_exist():
    """A page that says which test shows something names a test that is there."""
    for page in PAGES:
        for name in re.findall(r"`(tests/[\w/.]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_fault_is_listed_as_the_adversary_describes_it():
    """The page on reliability has each fault of `make chaos` and what it does, word for word."""
    assert [
        row for name, kind in FAULTS.items() if (row := f"| `{name}` | {kind.what} |") not in text("reliability.md")
    ] == []
