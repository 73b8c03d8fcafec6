"""A writer scribbles over everything of a live segment, while others use it by every call: no crash, and no hang.

What they get is data, or one of the errors that are named here: nothing that shows a broken invariant of ours. The
program is scribbling.py.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KINDS = ["mpmc", "spsc", "semaphore", "block", "overwrite", "latest", "queue", "joinable"]
ALLOWED = {
    *("fine", "Corrupt", "Empty", "Full", "Busy", "NotReady", "NotThere", "ShutDown", "PeerDied", "Closed"),
    *("DecodeError", "LayoutMismatch", "MessageTooLong", "NoSpace", "TimeoutError", "ValueError", "BufferError"),
    *("Overwritten", "FileNotFoundError", "PermissionError", "ShmringError", "Outrun"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="a ring admits the user who made it, and nobody else")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_scribbler_ends_and_holds_up_nobody(
    kind: str, seed: int, effort: float, figure: Callable[[str], None]
) -> None:
    program = [sys.executable, Path(__file__).with_name("scribbling.py"), kind, str(seed), str(int(200 * effort))]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["codes"] == [0, 0, 0], f"{told}: {done.stderr[-3000:]}"
    assert not told["stood_still"], told
    assert set(told["ends"]) <= ALLOWED, told
    assert {"fine", "Corrupt"} <= set(told["ends"]), told
    figure(f"{kind}: {sum(told['ends'].values()):,} calls, the longest of {told['longest']:.2f} s")
