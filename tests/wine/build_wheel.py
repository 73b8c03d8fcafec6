"""build_wheel.py ROOT DEST: the wheel for Windows, by the cross compiler that setup.sh prepared in ROOT."""

import os
import shutil
import sys
from pathlib import Path


def main() -> None:
    root, destination = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    os.environ["_PYTHON_HOST_PLATFORM"] = "win-amd64"  # what the wheel is tagged with
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # meson and ninja
    os.chdir(Path(__file__).resolve().parents[2])
    import mesonpy

    options = [f"--cross-file={root}/cross.ini", f"-Dpython.build_config={root}/build-details.json"]
    print(mesonpy.build_wheel(str(destination), {"setup-args": options}))


if __name__ == "__main__":
    main()
