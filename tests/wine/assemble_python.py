"""assemble_python.py WHEEL DEST: a Windows CPython out of a win_amd64 wheel that carries one.

The wheel has python3XX.dll and the standard extension modules as python.org built them, but no standard library in
Python, no python.exe and no import libraries. The library is this interpreter's own, of the same minor version;
python.exe is four lines of C; python3.dll, which extensions for the Limited API are linked with, forwards to the other.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

CROSS = "x86_64-w64-mingw32-"
LEFT_OUT = {
    "__pycache__", "test", "tests", "site-packages", "dist-packages", "lib-dynload", "idlelib", "tkinter",
    "turtledemo", "lib2to3",
}  # fmt: skip
EXECUTABLE = """\
#include <wchar.h>
__declspec(dllimport) int Py_Main(int, wchar_t **);
int wmain(int count, wchar_t **arguments) { return Py_Main(count, arguments); }
"""
# Without it Windows, and Wine, say that they are Windows 8, and refuse long paths.
MANIFEST = """\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
 <compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1"><application>
  <supportedOS Id="{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"/></application></compatibility>
 <application xmlns="urn:schemas-microsoft-com:asm.v3"><windowsSettings>
  <longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
 </windowsSettings></application>
</assembly>
"""


def unpack(wheel: Path, version: str, home: Path) -> None:
    """Take Python's libraries out of the wheel."""
    (home / "DLLs").mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = member.rpartition("/")[2]
            low = name.lower()
            if not member.startswith("deploy_libs/") or re.search(r"\.cp3\d+t-", low):
                continue
            if low.startswith(("api-ms", "tcl", "tk", "_tkinter", "_msi")):
                continue
            beside_exe = low.startswith("vcruntime") or low == f"python{version}.dll"
            (home / ("" if beside_exe else "DLLs") / name).write_bytes(archive.read(member))


def ignored(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name in LEFT_OUT or name.startswith("config-3") or name.endswith(".so")]


def build(version: str, home: Path) -> None:
    """Make python.exe, python3.dll and the libraries to link extensions with."""

    def run(program: str, *arguments: str) -> None:
        subprocess.run([program, *arguments], check=True, cwd=home, capture_output=True)

    (home / "libs").mkdir()
    run("gendef", f"python{version}.dll")
    full = f"python{version}.def"
    run(f"{CROSS}dlltool", "-d", full, "-D", f"python{version}.dll", "-l", f"libs/libpython{version}.dll.a")
    exported = re.findall(r"^(_?Py\w+)( DATA)?\s*$", (home / full).read_text(), re.MULTILINE)
    heading = 'LIBRARY "python3.dll"\nEXPORTS\n'
    forwards = "".join(f"  {name} = python{version}.{name}{data}\n" for name, data in exported)
    (home / "forwards.def").write_text(heading + forwards)
    (home / "names.def").write_text(heading + "".join(f"  {name}{data}\n" for name, data in exported))
    (home / "empty.c").write_text("int nothing;\n")
    shared = ("-shared", "-nostdlib", "-s", "-Wl,--entry,0")
    run(f"{CROSS}gcc", *shared, "-o", "python3.dll", "empty.c", "forwards.def")
    run(f"{CROSS}dlltool", "-d", "names.def", "-D", "python3.dll", "-l", "libs/libpython3.dll.a")
    (home / "python.c").write_text(EXECUTABLE)
    (home / "python.manifest").write_text(MANIFEST)
    (home / "python.rc").write_text('1 24 "python.manifest"\n')
    run(f"{CROSS}windres", "python.rc", "manifest.o")
    linked = ("-Llibs", f"-lpython{version}")
    run(f"{CROSS}gcc", "-O2", "-s", "-municode", "python.c", "manifest.o", "-o", "python.exe", *linked)
    for leftover in ("python.c", "empty.c", "manifest.o", "python.rc", "python.manifest"):
        (home / leftover).unlink()


def main() -> None:
    wheel, home = Path(sys.argv[1]), Path(sys.argv[2])
    (version,) = re.findall(r"-cp(3\d+)-", wheel.name)
    mine = "".join(map(str, sys.version_info[:2]))
    if version != mine:
        sys.exit(f"{wheel.name} is for Python {version}, and this is {mine}: run it with python3.{version[1:]}")
    shutil.rmtree(home, ignore_errors=True)
    unpack(wheel, version, home)
    library = sysconfig.get_path("stdlib")
    shutil.copytree(library, home / "Lib", ignore=ignored, ignore_dangling_symlinks=True)
    (home / "Lib/site-packages").mkdir(exist_ok=True)
    build(version, home)


if __name__ == "__main__":
    main()
