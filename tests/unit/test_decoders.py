"""No type of msgspec's is first used by two threads at once (docs/decisions/0020-decoders.md)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import decoders_in_threads

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for folder in ("services", "schemas") for path in (ROOT / folder).rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def structs() -> set[str]:
    """The names of all Structs of ours."""
    bases = {
        node.name: {ast.unparse(base).split(".")[-1] for base in node.bases}
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    found = {"Struct"}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return found


STRUCTS = structs()


def first_used(source: str) -> list[str]:
    """Structs that a function decodes or converts to, without a decoder that the module makes when it is imported."""
    module = ast.parse(source)
    inside = {id(node) for each in ast.walk(module) if isinstance(each, FUNCTIONS) for node in ast.walk(each)}
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    made = {ast.unparse(call.args[0]) for call in calls if id(call) not in inside and _named(call, "Decoder")}
    found = []
    for call in calls:
        kinds = [it.value for it in call.keywords if it.arg == "type" and _named(call, "decode")]
        kinds += call.args[1:2] if _named(call, "convert") else []
        found += [ast.unparse(it) for it in kinds if id(call) in inside and _names(it) & STRUCTS]
    return [it for it in found if it not in made]


def _named(call: ast.Call, name: str) -> bool:
    called = ast.unparse(call.func)
    return called.startswith("msgspec.") and called.endswith(f".{name}")


def _names(kind: ast.expr) -> set[str]:
    return set(re.findall(r"\w+", ast.unparse(kind)))


@pytest.mark.parametrize("path", MODULES, ids=lambda it: str(it.relative_to(ROOT)))
def test_decoders_are_made_when_a_module_is_imported(path: Path) -> None:
    """So no thread is the first to use a type."""
    assert first_used(path.read_text(encoding="utf-8")) == []


def test_the_rule_finds_what_it_is_for() -> None:
    """Decoding and converting to a Struct within a function, not what has a decoder."""
    bad = "def read(data):\n    return msgspec.json.decode(data, type=Shared), msgspec.convert(data, Spec)\n"
    assert first_used(bad) == ["Shared", "Spec"]
    assert first_used("_SHARED = msgspec.msgpack.Decoder(Shared)\nmsgspec.json.Decoder(Spec)\n" + bad) == []


def test_threads_may_meet_in_a_type_that_has_a_decoder() -> None:
    """What the rule rests on; without the decoders this process dies by signal 11."""
    command = [sys.executable, decoders_in_threads.__file__, "early"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
