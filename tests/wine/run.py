"""run.py ROOT [PYTEST ARGUMENTS...]: the tests under Wine, in four processes side by side, and what came of them.
run.py --here: the same in this Python, which is a Windows one.

Counts passed and skipped tests and the reasons of the latter. Fails when a test fails, and when fewer have passed than
FLOOR says: tests that silently stopped running would look like success.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
FLOOR = 1500
# Seconds for a test and for a process. Beside two busy loops they took a quarter and half of that.
LIMIT_OF_TEST, LIMIT = 300, 30 * 60
# What looks at the sources, or at Linux, from outside: the same whatever the package runs on.
SOURCES_OR_LINUX = {"bench", "core", "crash", "model", "test_layering.py", "test_sync_tags.py", "test_environment.py"}
RINGS = {"ring"}
WORKERS = {"workers", "pipeline"}
PROGRAMS = {"cli", "demo", "test_examples.py", "test_leftovers.py", "test_readme.py"}


def parts_of_all() -> dict[str, list[str]]:
    """What the processes run."""
    there = {path.name for path in (CHECKOUT / "tests").iterdir() if path.is_dir() or path.match("test_*.py")}
    rest = sorted(there - SOURCES_OR_LINUX - RINGS - WORKERS - PROGRAMS - {"wine", "__pycache__"})
    return {
        "rings": [f"tests/{name}" for name in sorted(RINGS)],
        "workers": [f"tests/{name}" for name in sorted(WORKERS)],
        "programs": [f"tests/{name}" for name in sorted(PROGRAMS)],
        "rest": ["tests/wine/on_windows.py", *(f"tests/{name}" for name in rest)],
    }


def windows_python(root: Path | None) -> list[str]:
    """How to start it."""
    return [sys.executable] if root is None else ["wine64", str(root / "python/python.exe")]


def run_part(root: Path | None, part: str, arguments: list[str]) -> int | None:
    """Run pytest in the Windows Python; what it says goes to a file. None if it did not end within LIMIT."""
    where = root or Path(tempfile.gettempdir())
    report = where / f"report-{part}.xml"
    report.unlink(missing_ok=True)
    command = [*windows_python(root), "-m", "pytest", *arguments, "-v", "-p", "no:cacheprovider"]
    command += ["--timeout-method=thread", f"--timeout={LIMIT_OF_TEST}", f"--junitxml={report}"]
    # pytest-timeout's thread needs the interpreter; what holds it for good is shown by faulthandler, which does not
    command += ["-o", f"faulthandler_timeout={LIMIT_OF_TEST + 60}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    # Not the file itself: under Wine a Python cannot start with one as its standard output.
    pytest = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    copying = threading.Thread(target=copy_output, args=(pytest, where / f"log-{part}.txt"), daemon=True)
    copying.start()
    try:
        return pytest.wait(LIMIT)
    except subprocess.TimeoutExpired:
        pytest.kill()
        pytest.wait()
        return None
    finally:
        copying.join(10)  # and no longer: a process that a test has left behind has the pipe as well


def copy_output(process: "subprocess.Popen[bytes]", path: Path) -> None:
    """Copy what it says as it comes, until the last process that has the pipe has ended."""
    assert process.stdout is not None
    with path.open("wb", buffering=0) as log:
        while chunk := os.read(process.stdout.fileno(), 65536):
            log.write(chunk)


def outcomes(report: Path) -> tuple[Counter[str], Counter[str]]:
    """What became of the tests, and why some were skipped, out of a JUnit report."""
    counts, reasons = Counter[str](), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = next((kind for kind in ("failure", "error", "skipped") if kind in kinds), "passed")
        counts[outcome] += 1
        for skipped in case.iter("skipped"):
            reasons[skipped.get("message", "no reason").removeprefix("Skipped: ")] += 1
    return counts, reasons


def what_to_read(log: str, *, everything: bool) -> str:
    """The figures that tests report; or all but the names of those that passed or were skipped."""
    if not everything:
        return log[log.rfind("figures") :] if "figures" in log else ""
    return "\n".join(line for line in log.splitlines() if not re.search(r"^tests\S+::.* (PASSED|SKIPPED)", line))


def main() -> int:
    root = None if sys.argv[1] == "--here" else Path(sys.argv[1]).resolve()
    where, chosen = root or Path(tempfile.gettempdir()), sys.argv[2:]
    parts = {"chosen": chosen} if chosen else parts_of_all()
    with ThreadPoolExecutor(len(parts)) as all_of_them:
        codes = [*all_of_them.map(lambda part: run_part(root, part, parts[part]), parts)]
    counts, reasons = Counter[str](), Counter[str]()
    for part, code in zip(parts, codes, strict=True):
        report, log = where / f"report-{part}.xml", (where / f"log-{part}.txt").read_text(errors="replace")
        if code not in (0, 1) or not report.exists():  # 1: some failed
            print(log[-8000:])
            how = f"did not end within {LIMIT // 60} minutes" if code is None else f"ended with {code}"
            print(f"the tests of {part} under Wine {how}: {' '.join(parts[part])}")
            return 1
        found, why = outcomes(report)
        counts, reasons = counts + found, reasons + why
        print(what_to_read(log, everything=bool(code or chosen)))
    print(f"Windows Python{' under Wine' if root else ''}: {counts['passed']} passed, {counts['skipped']} skipped:")
    for reason, count in reasons.most_common():
        print(f"  {count:4} {reason}")
    if not chosen:
        print(f"  not run: {', '.join(sorted(SOURCES_OR_LINUX))}: about the sources, or about Linux from outside")
    if counts["failure"] or counts["error"]:
        print(f"{counts['failure']} failed, {counts['error']} errors")
        return 1
    if not chosen and counts["passed"] < FLOOR:
        print(f"only {counts['passed']} tests passed; at least {FLOOR} have to (FLOOR in {Path(__file__).name})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
