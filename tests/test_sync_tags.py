"""Every SYNC tag stands at a release, at an acquire, and in LAYOUT.md.

A comment reads `SYNC: record-published (release; pairs with acquire in mpmc.c take)`. Half a pair is either a
missing barrier or a comment that lies.
"""

import re
from collections import defaultdict
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parent.parent / "shmring" / "core"
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
