"""The core compiles, without a warning, for platforms that no test here runs on: by the C compiler inside Zig."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.verify

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/shmring/core", "-c"]
TARGETS = {
    "aarch64-macos": "darwin",
    "x86_64-macos": "darwin",
    "x86_64-windows-gnu": "windows",
    "aarch64-windows-gnu": "windows",
    "aarch64-linux-gnu": "linux",
}


def sources(system: str) -> list[str]:
    """What meson.build lists for a platform, less the binding, which needs that platform's Python."""
    text = (ROOT / "shmring/meson.build").read_text()
    everywhere = text[text.index("core_sources = [") : text.index("platform_sources = {")]
    here = text[text.index(f"'{system}': [") :].partition("]")[0]
    return re.findall(r"'(core/[\w/]+\.c)'", everywhere + here)


@pytest.mark.parametrize("target", TARGETS)
def test_the_core_compiles_for(target: str, tmp_path: Path, figure: Callable[[str], None]) -> None:
    files = sources(TARGETS[target])
    assert any(f"os/{TARGETS[target]}" in name for name in files)
    for name in files:
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS, "-o", str(tmp_path / "object.o")]
        done = subprocess.run([*command, str(ROOT / "shmring" / name)], capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    figure(f"{target}: {len(files)} files, no warning")
