"""Where a key of a TOML text stands: tomllib decodes values but forgets their lines."""

from __future__ import annotations

import contextlib
import re
import tomllib

Path = tuple[str | int, ...]

_DEEPEST = 16
"""Keys of more parts than this are noted up to here: no pipeline file has them."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^\s,\]\}#]+(?: \d\d:[^\s,\]\}#]+)?")


class _UnreadableError(Exception):
    """The text is not TOML here; tomllib tells the user so, with its line."""


class _Scanner:
    """One pass over a TOML text that notes the offset at which each key path begins."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.offsets: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}  # array of tables -> its last index

    def document(self) -> None:
        table: Path = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            raise _UnreadableError
        self.at = found.end()
        return found.group()

    def _literal(self, literal: str) -> None:
        if not self.text.startswith(literal, self.at):
            raise _UnreadableError
        self.at += len(literal)

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if self.text.startswith(('"', "'"), self.at):
                parts.append(tomllib.loads(f"key = {self._take(_STRING)}")["key"])
            else:
                parts.append(self._take(_BARE_KEY))
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return tuple(parts)
            self.at += 1

    def _note(self, base: Path, key: Path, offset: int) -> Path:
        for end in range(1, min(len(key), _DEEPEST) + 1):
            self.offsets.setdefault(base + key[:end], offset)
        return base + key

    def _header(self) -> Path:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        key = self._key()
        self._literal("]]" if array else "]")
        path: Path = ()
        for number, part in enumerate(key):
            path = self._note(path, (part,), start)
            if array and number == len(key) - 1:
                self._elements[path] = self._elements.get(path, -1) + 1
            if path in self._elements:
                path = self._note(path, (self._elements[path],), start) if array else (*path, self._elements[path])
        self.offsets[path] = start
        return path

    def _pair(self, table: Path) -> None:
        start = self.at
        path = self._note(table, self._key(), start)
        self._literal("=")
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._sequence(path, "]")
        elif opening == "{":
            self._sequence(path, "}")
        elif opening in {'"', "'"}:
            self._take(_STRING)
        else:
            self._take(_SCALAR)

    def _sequence(self, path: Path, closing: str) -> None:
        self.at += 1
        index = 0
        while self._skip(_BLANK) < len(self.text) and self.text[self.at] != closing:
            if closing == "}":
                self._pair(path)
            else:
                self._value(self._note(path, (index,), self.at))
            index += 1
            self._skip(_BLANK)
            if self.text.startswith(",", self.at):
                self.at += 1
        self._literal(closing)


def key_lines(text: str) -> dict[Path, int]:
    """Line (from 1) of every key path, table and array element of a TOML text.

    Paths are as in the decoded document: ``("encodings", 0, "by")``. A text that is not TOML gives the lines
    found before the fault.
    """
    text = text.replace("\r\n", "\n")
    scanner = _Scanner(text)
    with contextlib.suppress(_UnreadableError, RecursionError, ValueError):
        scanner.document()
    lines: dict[Path, int] = {}
    at, line = 0, 1
    for path, offset in sorted(scanner.offsets.items(), key=lambda item: item[1]):
        line += text.count("\n", at, offset)
        at = offset
        lines[path] = line
    return lines
