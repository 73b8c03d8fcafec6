"""cross_files.py ROOT PYCONFIG: what Meson has to know to build for the Windows Python in ROOT.

A cross file (the compiler) and a build-details.json as PEP 739 has it (the Python). The headers are this interpreter's,
behind a pyconfig.h for Windows.
"""

import json
import shutil
import sys
import sysconfig
from pathlib import Path

CROSS_FILE = """\
[binaries]
c = 'x86_64-w64-mingw32-gcc'
ar = 'x86_64-w64-mingw32-ar'
strip = 'x86_64-w64-mingw32-strip'

[built-in options]
c_args = ['-I{headers}']
c_link_args = ['-static-libgcc']

[host_machine]
system = 'windows'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
"""


def main() -> None:
    root, pyconfig = Path(sys.argv[1]), Path(sys.argv[2])
    headers = root / "include"
    shutil.rmtree(headers, ignore_errors=True)
    shutil.copytree(sysconfig.get_path("include"), headers)
    shutil.copy(pyconfig, headers / "pyconfig.h")
    home, version = root / "python", f"{sys.version_info[0]}.{sys.version_info[1]}"
    stable = str(home / "libs/libpython3.dll.a")
    details = {
        "schema_version": "1.0",
        "base_prefix": str(home),
        "base_interpreter": str(home / "python.exe"),
        "platform": "win-amd64",
        "language": {"version": version},
        "implementation": {"name": "cpython"},
        "abi": {"flags": [], "extension_suffix": f".cp{version.replace('.', '')}-win_amd64.pyd",
                "stable_abi_suffix": ".pyd"},
        "suffixes": {"extensions": [".pyd"]},
        "libpython": {
            "dynamic": str(home / f"libs/libpython{version.replace('.', '')}.dll.a"),
            "dynamic_stableabi": stable,
            "dynamic-stableabi": stable,  # as Meson 1.12 spells it
            "link_extensions": True,
        },
        "c_api": {"headers": str(headers)},
    }  # fmt: skip
    (root / "build-details.json").write_text(json.dumps(details, indent=2))
    (root / "cross.ini").write_text(CROSS_FILE.format(headers=headers))


if __name__ == "__main__":
    main()
