"""Ways to break the logic of a C file of ours: each statement left out, each condition decided, each bound moved.

The orderings have a list of their own (sources.py). A change is made at one place of the text, so that all else stays
as it is, comments too; tree-sitter says where statements and expressions begin and end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import tree_sitter
import tree_sitter_c
from sources import Change, source

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
        elif _text(operator) in ("+", "-") and _text(right) == "1":
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


def _found(file: str) -> Iterator[Change]:
    text = source(file).read_bytes()
    for function in _everything(_PARSER.parse(text).root_node):
        if function.type != "function_definition":
            continue
        name, returns = _name_of(function), _text(function.child_by_field_name("type")).removeprefix("enum ")

        def change(node: tree_sitter.Node, after: str, statement: str, name: str = name) -> Change:
            start = len(text[: node.start_byte].decode())
            return Change(file, name, statement, _text(node), after, start)

        for node in _everything(function.child_by_field_name("body")):
            for place, after in _ways(node, returns):
                yield change(place, after, _statement_of(node if place.type in _JUMPS else place))
            for first, second in _exchanges(node):
                between = text[first.end_byte : second.start_byte].decode()
                one, other = _text(first), _text(second)
                start = len(text[: first.start_byte].decode())
                statement = f"{_one_line(one)} <-> {_one_line(other)}"
                yield Change(file, name, statement, one + between + other, other + between + one, start)


def logic_changes(file: str) -> list[Change]:
    """Every way to break this file, each with a name of its own, which an edit of the statement changes."""
    found: list[Change] = []
    seen: Counter[str] = Counter()
    for change in _found(file):
        seen[change.name] += 1
        if seen[change.name] > 1:
            change = replace(change, statement=f"{change.statement} ({seen[change.name]})")
        found.append(change)
    return found
