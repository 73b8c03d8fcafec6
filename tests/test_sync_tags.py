"""Every SYNC tag stands at a release, at an acquire, and in LAYOUT.md.

A comment reads `SYNC: record-published (release; pairs with acquire in mpmc.c take)`. Half a pair is either a
missing barrier or a comment that lies.
"""

import re
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "shmring"
CORE = PACKAGE / "core"
TAG = re.compile(r"SYNC:\s*([a-z0-9]+(?:-[a-z0-9]+)*)\s*(?:\(([^)]*)\))?")


def tags_in_sources() -> dict[str, list[tuple[str, str]]]:
    """Each tag of the C files with the places where it stands and what is said there."""
    found = defaultdict(list)
    for path in sorted(CORE.rglob("*.[ch]")):
        # A comment may run over several lines: the continuation's leader is no part of what it says.
        text = re.sub(r"\n\s*(?:\*(?!/)|//)\s?", " ", path.read_text())
        for tag, said in TAG.findall(text):
            found[tag].append((path.name, said))
    return found


def tags_in_layout() -> set[str]:
    layout = CORE / "LAYOUT.md"
    return {tag for tag, _ in TAG.findall(layout.read_text())} if layout.exists() else set()


ALL_TAGS = sorted(set(tags_in_sources()) | tags_in_layout())


def test_the_core_has_tags_to_check() -> None:
    assert ALL_TAGS


@pytest.mark.parametrize("tag", ALL_TAGS)
def test_a_tag_stands_at_both_ends(tag: str) -> None:
    places = tags_in_sources()[tag]
    assert len(places) >= 2, f"{tag} stands only here: {places}"
    # The first word says which end this is; the rest may well name the other one.
    ends = {said.replace(";", " ").replace(",", " ").split()[0] if said else "" for _, said in places}
    assert ends >= {"release", "acquire"} or "acq_rel" in ends, f"{tag} is {sorted(ends)} at {places}"


@pytest.mark.parametrize("tag", ALL_TAGS)
def test_a_tag_is_explained_in_the_layout(tag: str) -> None:
    assert tag in tags_in_layout(), f"`SYNC: {tag}` is missing from {CORE.name}/LAYOUT.md"


FILES = {path: path.read_text() for part in ("core", "binding") for path in sorted((PACKAGE / part).rglob("*.[ch]"))}
# "pairs with the release in change and in sr_reap"; or, of two fences, "other side: sr_after_empty in blocking.c"
PAIR = re.compile(r"pairs with the (\w+) in (\w+)(?: and in (\w+))?|other side: (\w+) in \w+\.c")
HALF = {"acquire": r"\bacquire\b|\bacq_rel\b", "release": r"\brelease\b|\bacq_rel\b", "fence": r"fence|FENCE"}


def bodies(function: str) -> list[str]:
    """Each definition of a function of this name: its text to the last brace."""
    found = []
    for text in FILES.values():
        for start in re.finditer(rf"^[a-z][^;{{}}=]*\b{function}\([^;{{]*\)\s*\{{", text, re.MULTILINE):
            line, end = text.find("\n", start.end() - 1), text.find("\n}", start.end())
            found.append(text[start.start() : line if text[start.end() : line].rstrip().endswith("}") else end])
    return found


def pairs() -> list[tuple[str, str, str]]:
    """What comments say of the other half: the file, which half it is, and in which function."""
    found = []
    for path, text in FILES.items():
        for said in PAIR.finditer(re.sub(r"\n\s*\*(?!/)\s?", " ", text)):
            named = [name for name in said.group(2, 3, 4) if name]
            found += [(path.name, said[1] or "fence", name) for name in named]
    return found


def test_every_comment_that_names_the_other_half_is_read() -> None:
    said = sum(
        len(re.findall(r"pairs with|other side:", re.sub(r"\n\s*\*(?!/)\s?", " ", text))) for text in FILES.values()
    )
    assert said == sum(len([*PAIR.finditer(re.sub(r"\n\s*\*(?!/)\s?", " ", text))]) for text in FILES.values()) > 20


@pytest.mark.parametrize(("file", "half", "function"), sorted({*pairs()}))
def test_the_function_that_a_comment_names_has_the_other_half(file: str, half: str, function: str) -> None:
    assert any(re.search(HALF[half], body) for body in bodies(function)), f"{file} names {function}: no {half} there"
