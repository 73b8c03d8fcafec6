"""Ways to break the logic of a C file: each statement left out, each condition decided, each bound moved by one.

The orderings have a list of their own (sources.py). Tree-sitter says where statements and expressions begin and end.
All breaks of a file are compiled into one program, which is told which of them counts: a thousand programs would take
an hour to build.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import tree_sitter
import tree_sitter_c
from sources import source

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_c.language()))
_MOVED_BY_ONE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_JUMPS = ("return_statement", "continue_statement", "break_statement")
_LOOPS = ("while_statement", "do_statement", "for_statement")


def _text(node: tree_sitter.Node) -> str:
    return node.text.decode()


def _name_of(function: tree_sitter.Node) -> str:
    declarator = function.child_by_field_name("declarator")
    while declarator.type != "identifier":
        declarator = declarator.child_by_field_name("declarator")
    return _text(declarator)


def _called(node: tree_sitter.Node) -> str:
    return _text(node.child_by_field_name("function")) if node.type == "call_expression" else ""


def _bare(condition: tree_sitter.Node) -> tree_sitter.Node:
    """Without parentheses and without what is said of its likelihood."""
    while condition.type == "parenthesized_expression" or _called(condition) in ("SR_LIKELY", "SR_UNLIKELY"):
        inner = (
            condition if condition.type == "parenthesized_expression" else condition.child_by_field_name("arguments")
        )
        condition = next(child for child in inner.named_children if child.type != "comment")
    return condition


def _decided(node: tree_sitter.Node, *values: str) -> Iterator[tuple[tree_sitter.Node, str]]:
    node = _bare(node)
    if node.type not in ("true", "false", "number_literal"):
        yield from ((node, value) for value in values)


def _has_effect(statement: tree_sitter.Node) -> bool:
    """Whether it is a statement that does something: no ``(void)parameter;``, no lone ``;``."""
    if statement.type != "expression_statement" or not statement.named_children:
        return False
    return not re.fullmatch(r"\(void\)\w+;", _text(statement))


def _without_swap(node: tree_sitter.Node) -> Iterator[tuple[tree_sitter.Node, str]]:
    """A compare-and-swap that swaps nothing and says that it has; or one that does not compare."""
    place, _, desired, order = (
        _text(child) for child in node.child_by_field_name("arguments").named_children if child.type != "comment"
    )
    stored = "release" if order in ("release", "acq_rel") else "relaxed"
    if node.parent.type != "expression_statement":
        yield node, "true"
    yield node, f"(SR_STORE({place}, {desired}, {stored}), true)"


def _ways(node: tree_sitter.Node, returns: str) -> Iterator[tuple[tree_sitter.Node, str]]:
    """What can be put in a node's place, or in that of a part of it."""
    parent, kind = node.parent, node.type
    in_a_block = parent.type == "compound_statement"
    if _has_effect(node) and parent.type not in ("for_statement",):
        yield node, ";"
    if kind in _JUMPS and in_a_block and node.prev_named_sibling and parent.parent.type != "function_definition":
        yield node, ";"
    if kind in ("if_statement", "conditional_expression"):
        yield from _decided(node.child_by_field_name("condition"), "true", "false")
    if kind in _LOOPS and node.child_by_field_name("condition"):
        yield from _decided(node.child_by_field_name("condition"), "false")
    if kind == "binary_expression":
        left, operator, right = (node.child_by_field_name(name) for name in ("left", "operator", "right"))
        if _text(operator) in ("&&", "||"):
            neutral = "true" if _text(operator) == "&&" else "false"
            yield from _decided(left, neutral)
            yield from _decided(right, neutral)
        elif _text(operator) in _MOVED_BY_ONE:
            yield operator, _MOVED_BY_ONE[_text(operator)]
        elif _text(operator) in ("+", "-") and _text(right) == "1" and parent.type != "array_declarator":
            yield right, "0"
    if kind == "return_statement" and node.named_children:
        value = _bare(node.named_children[0])
        if returns == "bool":
            yield from _decided(value, "true", "false")
        elif returns == "sr_result" and value.type == "call_expression":
            yield value, "SR_OK"
    if _called(node) == "SR_CAS":
        yield from _without_swap(node)


def _everything(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.named_children:
        yield from _everything(child)


def _exchanges(node: tree_sitter.Node) -> Iterator[tuple[tree_sitter.Node, tree_sitter.Node]]:
    """Two statements that follow each other, and that another process could see in this order or the other."""
    following = node.next_named_sibling
    while following is not None and following.type == "comment":
        following = following.next_named_sibling
    if following is not None and all(_has_effect(each) and "(" in _text(each) for each in (node, following)):
        yield node, following


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL).split())


def _statement_of(node: tree_sitter.Node) -> str:
    """The statement around a node, or the head of one that has others in it, on one line."""
    while not (node.type.endswith("_statement") or node.type == "declaration") or node.type == "compound_statement":
        node = node.parent
    text = _text(node)
    body = node.child_by_field_name("body") or node.child_by_field_name("consequence")
    if node.type == "do_statement":
        text = "do " + text[text.rindex("while") :]
    elif body is not None:
        text = text[: body.start_byte - node.start_byte]
    return _one_line(text)


@dataclass(frozen=True)
class Span:
    """A part of the text, and what stands there when it is broken."""

    start: int
    end: int
    broken: str
    is_statement: bool


@dataclass(frozen=True)
class Break:
    """One way to break a file: its name, which an edit of the statement changes, and what it puts where."""

    file: str
    name: str
    spans: tuple[Span, ...]


class _File:
    def __init__(self, file: str) -> None:
        self.file, self.text = file, source(file).read_text()
        assert self.text.isascii(), "offsets in bytes are offsets in characters"
        self.root = _PARSER.parse(self.text.encode()).root_node

    def breaks(self) -> Iterator[Break]:
        for function in _everything(self.root):
            if function.type == "function_definition":
                name = f"{self.file} {_name_of(function)}"
                returns = _text(function.child_by_field_name("type")).removeprefix("enum ")
                for node in _everything(function.child_by_field_name("body")):
                    yield from self._of(node, name, returns)

    def _of(self, node: tree_sitter.Node, name: str, returns: str) -> Iterator[Break]:
        for place, after in _ways(node, returns):
            is_statement = place.type.endswith("_statement")
            change = "without" if after == ";" else f"{_one_line(_text(place))}->{after}"
            whole = place
            if place.type in _MOVED_BY_ONE:
                whole, after = place.parent, self._between(place.parent, place, after)
            span = Span(whole.start_byte, whole.end_byte, after, is_statement)
            yield Break(self.file, f"{name} {change}: {_statement_of(place)}", (span,))
        for one, other in _exchanges(node):
            spans = (
                Span(one.start_byte, one.end_byte, _text(other), True),
                Span(other.start_byte, other.end_byte, _text(one), True),
            )
            statement = f"{_one_line(_text(one))} <-> {_one_line(_text(other))}"
            yield Break(self.file, f"{name} exchanged: {statement}", spans)

    def _between(self, whole: tree_sitter.Node, part: tree_sitter.Node, after: str) -> str:
        return self.text[whole.start_byte : part.start_byte] + after + self.text[part.end_byte : whole.end_byte]


@cache
def breaks(file: str) -> tuple[Break, ...]:
    """Every way to break this file, each with a name of its own."""
    found: list[Break] = []
    seen: Counter[str] = Counter()
    for each in _File(file).breaks():
        seen[each.name] += 1
        found.append(replace(each, name=f"{each.name} ({seen[each.name]})") if seen[each.name] > 1 else each)
    return tuple(found)


def breakable(file: str) -> str:
    """The file with all of its breaks in it; the one that counts is number `sr_broken`, from 1, and 0 is none."""
    text = source(file).read_text()
    places: dict[tuple[int, int], list[tuple[int, Span]]] = defaultdict(list)
    for number, each in enumerate(breaks(file), start=1):
        for span in each.spans:
            places[span.start, span.end].append((number, span))
    inside_first = sorted(places, key=lambda place: (place[0], -place[1]))

    def with_all(start: int, end: int, inner: list[tuple[int, int]]) -> str:
        parts, at = [], start
        while inner:
            place = inner[0]
            nested = [other for other in inner[1:] if other[1] <= place[1]]
            inner = inner[1 + len(nested) :]
            parts += [text[at : place[0]], broken(place, with_all(*place, nested))]
            at = place[1]
        return "".join([*parts, text[at:end]])

    def broken(place: tuple[int, int], whole: str) -> str:
        for number, span in places[place]:
            if span.is_statement:
                whole = f"{{ if (sr_broken == {number}) {{ {span.broken} }} else {whole} }}"
            elif span.broken in ("true", "false"):
                whole = f"(sr_broken == {number} ? {span.broken} : !!({whole}))"
            else:
                whole = f"(sr_broken == {number} ? ({span.broken}) : ({whole}))"
        return whole

    return "extern int sr_broken;\n" + with_all(0, len(text), inside_first)
