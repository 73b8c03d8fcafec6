"""Programs that run as another user of this machine; for tests/security."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable

VICTIM, STRANGER = 21001, 21002

_UNSHARES = """
import ctypes, sys
if ctypes.CDLL(None).unshare(0x10000000):  # CLONE_NEWUSER
    sys.exit("unshare failed")
"""

AsUser = Callable[..., str]


def run_as(uid: int, code: str, *arguments: str, namespace: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run a program as a user who has no name, no group of others and no capability."""
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return subprocess.run(
        [*become, sys.executable, "-c", _UNSHARES * namespace + textwrap.dedent(code), *arguments],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
