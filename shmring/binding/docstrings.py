"""docstrings.py STUB HEADER: the docstrings of a .pyi file as a C header, so that ``help()`` and editors say the same.

Each public class, method and attribute becomes a macro DOC_Class or DOC_Class_name, with the signature that
``inspect`` reads in front of a method's.
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path


def signature(function: ast.FunctionDef) -> str:
    """The parameters as a C docstring begins with them; what has annotations in the stub has none there."""
    arguments = function.args
    first = len(arguments.posonlyargs)
    every = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(every) - len(arguments.defaults)) + [ast.unparse(each) for each in arguments.defaults]
    shown = [
        each.arg if default is None else f"{each.arg}={default}" for each, default in zip(every, defaults, strict=True)
    ]
    shown[0] = "$self"
    shown.insert(first or 1, "/")
    return f"{function.name}({', '.join(shown)})\n--\n\n"


def docstrings(stub: str) -> Iterator[tuple[str, str]]:
    """Each macro's name and text."""
    for each in ast.parse(stub).body:
        if not isinstance(each, ast.ClassDef):
            continue
        if text := ast.get_docstring(each):
            yield each.name, text
        for member in each.body:
            text = ast.get_docstring(member) if isinstance(member, ast.FunctionDef) else None
            if isinstance(member, ast.FunctionDef) and text:
                is_attribute = any(isinstance(one, ast.Name) and one.id == "property" for one in member.decorator_list)
                yield f"{each.name}_{member.name}", text if is_attribute else signature(member) + inspect.cleandoc(text)


def main() -> None:
    """Write the header."""
    stub, header = map(Path, sys.argv[1:])
    lines = [f"#define DOC_{name} {json.dumps(text)}\n" for name, text in docstrings(stub.read_text("utf-8"))]
    header.write_text(f"/* Made from {stub.name}: change that instead. */\n" + "".join(lines), "utf-8")


if __name__ == "__main__":
    main()
