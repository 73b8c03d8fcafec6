"""Who may know whom: the import direction of the Python files and the #include direction of the C files.

The map of it all is the docstring of `shmring/__init__.py`; here it is enforced over whatever files exist.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "shmring"
CORE = PACKAGE / "core"
BINDING = PACKAGE / "binding"  # the only files with Python.h

# A unit (a module or a package in shmring/, or one of the rooms of a house) may import units of lower rank, and itself.
RANK = {
    "errors": 0,
    "binding": 0,  # the script that makes a header of the docstrings
    "generic": 0,
    "_core": 1,
    "codecs": 1,  # beside: objects to bytes, never sees a mapping
    "segment": 2,
    "diagnosis": 3,  # the core's results in words
    "aio.parking": 3,
    "names.places": 3,
    "names.semaphores": 3,
    "aio.waiting": 4,
    "interruption": 3,
    "ending": 2,  # of the process
    "handles": 3,  # on their way to other processes
    "names.registry": 4,
    "options": 5,
    "attachment": 6,
    "admin.inspection": 5,
    "ring": 7,
    "topic": 7,
    "latest": 7,
    "queues": 8,
    "admin.leftovers": 9,
    "workers": 9,
    "admin.doctor": 10,
    "pipeline": 10,
    "shmring": 11,  # __init__.py, the public names; from here on up only those are used
    "demo": 12,
    "bench": 12,
    "bridge": 12,
    "cli": 13,
    "__main__": 14,
}
HOUSES = {"names", "aio", "admin"}  # folders whose rooms are units of their own
PUBLIC_SUBMODULES = {"segment", "codecs"}

ALGORITHMS = {"geometry.c", "spsc.c", "mpmc.c", "line.c", "semaphore.c", "repair.c", "topic.c", "latest.c"}
NOT_IN_ALGORITHMS = {"wait/wait.h", "os/os.h", "blocking.h", "attach.h", "Python.h"}
SYSTEM_HEADERS_FOR_ALGORITHMS = {
    "assert.h", "limits.h", "stdalign.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "string.h",
}  # fmt: skip

PLATFORM_HEADERS = {
    "fcntl.h", "linux/futex.h", "pthread.h", "semaphore.h", "sys/mman.h", "sys/syscall.h", "unistd.h",
    "windows.h",
}  # fmt: skip


def unit_of(path: Path) -> str:
    """`segment/sizes.py` belongs to the unit `segment`, `names/registry.py` to its own, `__init__.py` to `shmring`."""
    parts = [part.removesuffix(".pyi").removesuffix(".py") for part in path.relative_to(PACKAGE).parts]
    return unit_named([part for part in parts if part != "__init__"])


def unit_named(parts: list[str]) -> str:
    """The unit that a module belongs to, by the parts of its name after `shmring`."""
    if not parts:
        return "shmring"
    return ".".join(parts[:2]) if parts[0] in HOUSES else parts[0]


def imported_modules(path: Path) -> Iterator[str]:
    """Every module name a Python file imports, in full, wherever in the file the import stands."""
    package = ("shmring", *path.relative_to(PACKAGE).parts[:-1]) if path.is_relative_to(PACKAGE) else ()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = [*package[: len(package) - node.level + 1], node.module] if node.level else [node.module]
            base = ".".join(part for part in parts if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imported_units(path: Path) -> Iterator[str]:
    """The units of shmring that a Python file imports."""
    for module in imported_modules(path):
        head, _, rest = module.partition(".")
        if head == "shmring":
            unit = unit_named(rest.split("."))
            yield unit if unit in RANK else "shmring"


def python_files(directory: Path) -> list[Path]:
    return sorted(path for suffix in ("*.py", "*.pyi") for path in directory.rglob(suffix))


@pytest.mark.parametrize("path", python_files(PACKAGE), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    unit = unit_of(path)
    if unit in HOUSES:
        assert not [*imported_units(path)], f"{path.relative_to(ROOT)} only says what its rooms are"
        return
    assert unit in RANK, f"{unit} has no place in the layering yet: give it one in {Path(__file__).name}"
    above = {other for other in imported_units(path) if other != unit and RANK[other] >= RANK[unit]}
    assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}, which lie above it or beside it"


@pytest.mark.parametrize(
    "path",
    [path for place in ("examples", "bench") for path in python_files(ROOT / place)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_examples_and_benches_use_public_names_only(path: Path) -> None:
    for module in imported_modules(path):
        head, _, rest = module.partition(".")
        if head == "shmring" and rest:
            first, *more = rest.split(".")
            assert not any(part.startswith("_") for part in (first, *more)), f"{module} is private"
            assert first not in RANK or first in PUBLIC_SUBMODULES, f"{module}: import it from shmring itself"


@cache
def includes(path: Path) -> tuple[tuple[str, bool], ...]:
    """What a C file includes itself: each header, and whether it stands in quotes."""
    found = re.findall(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', path.read_text(), re.MULTILINE)
    return tuple((quoted or angled, bool(quoted)) for quoted, angled in found)


def reaches(path: Path) -> set[str]:
    """Every header that a C file includes, directly or through headers of the core."""
    found: set[str] = set()
    pending = [path]
    while pending:
        for header, quoted in includes(pending.pop()):
            if header not in found:
                found.add(header)
                if quoted:
                    pending += [folder / header for folder in (CORE, BINDING) if (folder / header).exists()]
    return found


def c_files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for folder in (CORE, BINDING) for path in folder.rglob(pattern))


def source(name: str) -> Path:
    """The file of the core that has this name."""
    [found] = CORE.rglob(name)
    return found


def by_name(path: Path) -> str:
    return path.name


def test_every_header_that_a_rule_forbids_or_allows_exists() -> None:
    named = {"atomics.h", "result.h", "ring/endpoint.h", "blocking.h", "os/semaphore.h", *NOT_IN_ALGORITHMS} - {
        "Python.h"
    }
    included = {header for path in c_files("*.[ch]") for header, quoted in includes(path) if quoted}
    assert named - {"Python.h"} <= included


@pytest.mark.parametrize("path", c_files("*.c", "*.h"), ids=by_name)
def test_only_atomics_h_includes_stdatomic_h(path: Path) -> None:
    assert path.name == "atomics.h" or ("stdatomic.h", False) not in includes(path)


@pytest.mark.parametrize("path", c_files("*.c"), ids=by_name)
def test_only_the_binding_reaches_python_h(path: Path) -> None:
    assert path.is_relative_to(BINDING) or "Python.h" not in reaches(path)


@pytest.mark.parametrize("path", [source(name) for name in sorted(ALGORITHMS)], ids=by_name)
def test_an_algorithm_knows_nothing_of_waiting_the_system_or_python(path: Path) -> None:
    assert not reaches(path) & NOT_IN_ALGORITHMS
    own_seam = {"os/semaphore.h"} if path.name == "semaphore.c" else set()
    assert {header for header in reaches(path) if header.startswith("os/")} <= own_seam


@pytest.mark.parametrize("path", [source(name) for name in sorted(ALGORITHMS)], ids=by_name)
def test_an_algorithm_includes_nothing_that_needs_a_hosted_system(path: Path) -> None:
    system = {header for header, quoted in includes(path) if not quoted}
    assert system <= SYSTEM_HEADERS_FOR_ALGORITHMS


@pytest.mark.parametrize("path", [source("layout.h")], ids=by_name)
def test_the_layout_knows_nothing_above_it(path: Path) -> None:
    assert {header for header, quoted in includes(path) if quoted} <= {"atomics.h", "result.h"}


@pytest.mark.parametrize("path", [source("wait.c"), *sorted((CORE / "os").glob("*.c"))], ids=by_name)
def test_waiting_and_the_platform_know_no_algorithm(path: Path) -> None:
    assert "ring/endpoint.h" not in reaches(path)


@pytest.mark.parametrize("path", [source("wait.c"), *sorted((CORE / "os").glob("*.c"))], ids=by_name)
def test_waiting_and_the_platform_do_not_know_the_blocking_loop(path: Path) -> None:
    assert "blocking.h" not in reaches(path)


@pytest.mark.parametrize("path", [source(name) for name in ("blocking.c", "attach.c", "watch.c")], ids=by_name)
def test_the_machinery_reaches_the_system_through_os_h_only(path: Path) -> None:
    assert not reaches(path) & PLATFORM_HEADERS


def test_no_static_function_has_a_name_in_two_files() -> None:
    """So that a search finds it once, and a drawing of the house shows no circle that is none."""
    where: dict[str, set[str]] = {}
    for path in c_files("*.[ch]"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        for found in re.finditer(r"^static (?!inline|const|assert)[^;={(]*?\b(\w+)\(", text, re.MULTILINE):
            where.setdefault(found[1], set()).add(path.relative_to(PACKAGE).as_posix())
    assert len(where) > 300
    assert {name: files for name, files in where.items() if len(files) > 1} == {}
