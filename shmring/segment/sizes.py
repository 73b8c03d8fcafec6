"""Sizes in bytes, as numbers or as text such as "64 MiB"."""

from __future__ import annotations

import operator
import re

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS[f"{_letter}ib"] = 1024**_power
    _UNITS[f"{_letter}b"] = 1000**_power
    _UNITS[_letter] = 1024**_power

_TEXT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def parse_size(size: object, *, limit: int = 2**40, what: str = "capacity") -> int:
    """Bytes: an int, or text with a unit ("4096", "64 MiB", "1.5 GiB", "10 kB").

    TypeError for anything else; ValueError for text that is none of these and for less than 1 or more than ``limit``.
    """
    allowed = f'{what} is 1 to {limit} bytes, as an int or as text such as "64 MiB"'
    if isinstance(size, str):
        match = _TEXT.fullmatch(size) if len(size) < 100 else None
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f"{what} is {size[:100]!r}; {allowed}")
        whole, _, fraction = match[1].partition(".")
        scale: int = 10 ** len(fraction)
        count, rest = divmod(int(whole + fraction) * unit, scale)
        if rest:
            raise ValueError(f"{what} is {size!r}, which is no whole number of bytes; {allowed}")
    elif isinstance(size, bool):
        raise TypeError(f"{what} is {size!r}; {allowed}")
    else:
        try:
            count = operator.index(size)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{what} is {size!r}; {allowed}") from None
    if not 1 <= count <= limit:
        raise ValueError(f"{what} is {size!r}; {allowed}")
    return count


def show_size(length: int) -> str:
    """A number of bytes for people: "64 MiB", "1.5 KiB", "17 B"."""
    amount = float(length)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"
