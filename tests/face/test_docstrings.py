"""What everything public says of itself: under fixed headings, with examples that run, in help() and editors alike."""

import ast
import builtins
import concurrent.futures.process
import doctest
import inspect
from pathlib import Path

import pytest

import shmring
from shmring import _core
from tests.face.public import HEADINGS, Public, public, sections

EVERY = [*public()]
CALLABLES = [each for each in EVERY if not each.is_attribute and not inspect.isclass(each.what)]
CLASSES = [each for each in EVERY if inspect.isclass(each.what)]
# The errors' examples are in test_what_is_raised.py; leases' are those of what makes them.
WITHOUT_EXAMPLE = {each.name for each in CLASSES if issubclass(each.what, BaseException)} | {"Lease", "AsyncLease"}


def error_named(name: str) -> object:
    """The exception of that name: shmring's, Python's, or the one that executors share."""
    others = {"BrokenProcessPool": concurrent.futures.process.BrokenProcessPool}
    return getattr(shmring, name, None) or getattr(builtins, name, None) or others.get(name)


def first_sentence_is_missing(each: Public) -> bool:
    return not each.doc.partition("\n\n")[0].endswith((".", ".)"))


def test_everything_public_has_a_docstring_that_begins_with_a_sentence() -> None:
    assert len(EVERY) > 200
    assert [each.name for each in EVERY if not each.doc or first_sentence_is_missing(each)] == []


def test_headings_are_the_fixed_ones_in_the_fixed_order() -> None:
    for each in EVERY:
        found = [*sections(each.doc)]
        assert found == [heading for heading in HEADINGS if heading in found], each.name
        lines = [line[:-1] for line in each.doc.splitlines() if line[:1].isalpha() and line.endswith(":")]
        assert [line for line in lines if len(line.split()) < 5 and line not in HEADINGS] == [], each.name


def test_a_call_with_a_timeout_says_how_it_waits_and_a_coroutine_what_a_cancelled_one_has_done() -> None:
    for each in CALLABLES:
        if each.name.startswith(("Producer.", "Consumer.")):
            is_the_rings_own = each.name.rpartition(".")[2] not in ("release", "close", "shutdown")
            assert ("all that stands there" in each.doc) == is_the_rings_own, each.name
            continue
        if "timeout" in inspect.signature(each.what).parameters:
            assert {"Waits", "Raises"} <= {*sections(each.doc)}, each.name
        if inspect.iscoroutinefunction(each.what):
            assert "When cancelled" in sections(each.doc), each.name


def test_what_a_call_raises_exists() -> None:
    for each in EVERY:
        assert ("Raises" in sections(each.doc)) == bool(each.raises), f"{each.name}: `Full: There was no room in time.`"
        assert len(each.raises) == len({*each.raises}), each.name
        for name in each.raises:
            found = error_named(name)
            assert isinstance(found, type), f"{each.name}: {name}"
            assert issubclass(found, BaseException), f"{each.name}: {name}"


def test_what_is_as_elsewhere_stands_there() -> None:
    """`Full: As ``put``.` is true only if put says something of Full."""
    for each in EVERY:
        family = {other.name: other for other in EVERY if "." not in other.name}
        family |= {other.name.rpartition(".")[2]: other for other in EVERY if _are_of_one(each, other)}
        for heading, text in sections(each.doc).items():
            for line in text.splitlines():
                name, _, said = line.strip().partition(": ") if heading == "Raises" else ("", "", line.strip())
                if said.startswith("As ``"):
                    there = family[said.split("``")[1]]
                    said_there = there.raises if name else [*sections(there.doc)]
                    assert (name or heading) in said_there, (
                        f"{each.name}: {there.name} says nothing of {name or heading}"
                    )


def _are_of_one(one: Public, other: Public) -> bool:
    return other.owner is not None and one.name.rpartition(".")[0] == other.name.rpartition(".")[0]


def test_a_class_has_an_example() -> None:
    assert [each.name for each in CLASSES if each.name not in WITHOUT_EXAMPLE and ">>> " not in each.doc] == []


EXAMPLES = [
    found
    for each in EVERY
    for found in doctest.DocTestFinder(recurse=False).find(each.what, each.name, globs={"shmring": shmring})
    if found.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_gives_what_it_shows_and_leaves_nothing(example: doctest.DocTest, name: str) -> None:
    said: list[str] = []
    for each in example.examples:  # by names of this run
        each.source, each.want = (text.replace("docs-", f"{name}-") for text in (each.source, each.want))
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.failed == 0, "".join(said)
    example.globs.clear()
    shmring.codecs._known.pop("text", None)


def documented_in_the_stub() -> dict[str, str]:
    """Each docstring of _core.pyi."""
    found = {}
    for node in ast.parse(Path(_core.__file__).with_name("_core.pyi").read_text()).body:
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(member, ast.FunctionDef) and (text := ast.get_docstring(member)):
                found[f"{node.name}.{member.name}"] = text
    return found


def test_help_says_what_an_editor_shows() -> None:
    for name, text in documented_in_the_stub().items():
        cls, _, member = name.partition(".")
        assert inspect.getdoc(vars(getattr(_core, cls))[member]) == text, name


def test_every_call_in_c_is_documented_in_the_stub() -> None:
    stub = documented_in_the_stub()
    ours = {
        f"{each.owner.__name__}.{each.name.rpartition('.')[2]}"
        for each in EVERY
        if each.owner and each.owner.__module__ == "shmring._core" and each.owner is not getattr(_core, "View", None)
    }
    assert ours <= {*stub}
