"""Literals as Python writes them, which stand in the header of an .npy file: read within bounds, nothing evaluated.

Strings, whole numbers, True, False and None, in tuples, lists and dicts.
"""

from __future__ import annotations

import re
from typing import Any

LONGEST = 1 << 18  # characters of a text
DEEPEST = 128  # brackets in one another

_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[()\[\]{},:]) | (?P<number>-?[0-9]{1,19})(?![\w.]) | (?P<word>True|False|None)(?!\w)
    | '(?P<single>(?:[^'\\\n]|\\.)*)' | "(?P<double>(?:[^"\\\n]|\\.)*)" | (?P<end>\Z) )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:([\\'\"nrt])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_PLAIN = {"n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"True": True, "False": False, "None": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def read(text: str) -> Any:
    """The value; ValueError for what is none, is too long or too deep."""
    if len(text) > LONGEST:
        raise ValueError(f"a literal of {len(text)} characters; at most {LONGEST} are read")
    reader = _Reader(text)
    value = reader.value(0)
    if reader.kind != "end":
        raise reader.wrong("the end")
    return value


class _Reader:
    """Holds one token, the next to be used."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._advance()

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            raise ValueError(f"no literal at character {self._at}: {self._text[self._at : self._at + 32]!r}")
        self.kind, self.token, self._at = found.lastgroup, found[found.lastgroup], found.end()

    def wrong(self, wanted: str) -> ValueError:
        return ValueError(f"{self.token[:32]!r} stands before character {self._at}, where {wanted} should be")

    def _take(self, mark: str) -> bool:
        there = self.kind == "mark" and self.token == mark
        if there:
            self._advance()
        return there

    def value(self, depth: int) -> Any:
        kind, token = self.kind, self.token
        if kind == "mark" and token in _CLOSING:
            if depth == DEEPEST:
                raise ValueError(f"a literal with more than {DEEPEST} brackets in one another")
            self._advance()
            return self._brackets(token, depth + 1)
        if kind in ("mark", "end"):
            raise self.wrong("a value")
        self._advance()
        if kind == "number":
            return int(token)
        return _WORDS[token] if kind == "word" else _ESCAPE.sub(_unescaped, token)

    def _brackets(self, opened: str, depth: int) -> Any:
        parts: list[Any] = []
        has_comma = False
        while not self._take(_CLOSING[opened]):
            if parts and not has_comma:
                raise self.wrong("a comma")
            part = self.value(depth)
            parts.append((part, self._value_behind(part, depth)) if opened == "{" else part)
            has_comma = self._take(",")
        if opened == "{":
            return dict(parts)
        if opened == "(":
            return tuple(parts) if has_comma or not parts or len(parts) > 1 else parts[0]
        return parts

    def _value_behind(self, key: object, depth: int) -> Any:
        if not isinstance(key, str) or not self._take(":"):
            raise self.wrong("a text and a colon")
        return self.value(depth)


def _unescaped(found: re.Match[str]) -> str:
    plain, *numbers, other = found.groups()
    if other is not None:
        raise ValueError(f"no escape: {found[0]!r}")
    return _PLAIN.get(plain, plain) if plain else chr(int(next(filter(None, numbers)), 16))
