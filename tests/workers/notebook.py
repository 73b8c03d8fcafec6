"""Run a program's statements as the cells of a notebook, in a Jupyter kernel of its own: notebook.py PROGRAM.

Prints what they print. A program of its own, because Jupyter's client has an event loop that it does not give back.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from jupyter_client import KernelManager
from ways import SECONDS, statements


def show(message: dict[str, Any]) -> None:
    if message["content"].get("name") == "stdout":
        print(message["content"]["text"], end="", flush=True)


def main(program: Path) -> None:
    kernel = KernelManager()
    assert kernel.kernel_spec is not None
    kernel.kernel_spec.argv[0] = sys.executable
    kernel.start_kernel(env={**os.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = kernel.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=SECONDS)
        for cell in statements(program):
            reply = client.execute_interactive(cell, timeout=SECONDS, output_hook=show)
            if reply["content"]["status"] != "ok":
                sys.exit("\n".join(reply["content"]["traceback"]))
    finally:
        kernel.shutdown_kernel(now=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
