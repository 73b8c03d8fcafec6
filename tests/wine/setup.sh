#!/usr/bin/env bash
# setup.sh ROOT PYTHON: a Windows CPython of PYTHON's version under Wine in ROOT, with what the tests
# need, and a cross compiler for it.
# Debian or Ubuntu on amd64; root where packages have to be installed. About a minute, and a second when it is there.
# Afterwards `source ROOT/env.sh` gives `winpython`; `wineserver -k` then ends what runs in ROOT's Wine and nothing else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(realpath -m "${1:?usage: setup.sh ROOT PYTHON}")
python=${2:?usage: setup.sh ROOT PYTHON}
mkdir -p "$root"

missing=()
[ -x /usr/lib/wine/wine64 ] || missing+=(wine64)
command -v x86_64-w64-mingw32-gcc >/dev/null || missing+=(gcc-mingw-w64-x86-64-win32)
command -v gendef >/dev/null || missing+=(mingw-w64-tools)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]}; install them (Debian: apt-get install ${missing[*]})" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$root/apt.log" 2>&1 ||
        { cat "$root/apt.log" >&2; exit 1; }
fi

cat >"$root/env.sh" <<ENV
export WINEPREFIX=$root/prefix WINEARCH=win64 WINEDEBUG=-all PATH=/usr/lib/wine:\$PATH
export WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe=d"
unset DISPLAY
# A Windows Python cannot start with a regular file as a standard stream: /dev/null in, a pipe out.
winpython() { timeout -k 10 600 wine64 $root/python/python.exe "\$@" </dev/null 2>&1 | cat; return "\${PIPESTATUS[0]}"; }
ENV
source "$root/env.sh"
if [ ! -d "$root/prefix" ]; then
    timeout 120 wine64 wineboot -i >/dev/null 2>&1 </dev/null
    wineserver -w
fi
wineserver -p >/dev/null 2>&1 </dev/null || true # stays, so that each program starts in a tenth of a second
wine64 reg add 'HKCU\Software\Wine' /v Version /d win10 /f >/dev/null 2>&1 </dev/null

# From here on anything for that Windows CPython, whatever runs pip.
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
target=(--platform win_amd64 --python-version "$version" --only-binary=:all:)
if [ ! -e "$root/python/python.exe" ]; then
    # This wheel carries python311.dll and the standard extension modules as python.org ships them.
    pip download --no-deps -d "$root/download" "${target[@]}" panda3d==1.10.16
    "$python" "$here/assemble_python.py" "$root"/download/panda3d-*-"cp${version/./}"-*.whl "$root/python"
fi
if [ ! "$root/tools" -nt "$here/setup.sh" ]; then # what is needed may have changed since
    # numpy: from 2.1 on it does not load under Wine 8.
    pip install --upgrade --target "$root/python/Lib/site-packages" "${target[@]}" \
        'pytest==8.*' pytest-timeout colorama 'hypothesis>=6.100' msgspec 'numpy==2.0.*' 'click>=8.1' 'rich>=13' \
        'cloudpickle>=3.1' pip
    # A package whose wheels are pure Python, behind a tag of their own; and what it needs.
    pip install --upgrade --no-deps --target "$root/python/Lib/site-packages" 'multiprocess>=0.70.15' 'dill>=0.3.9'
    "$python" -m compileall -q "$root/python/Lib" -x site-packages # or each process compiles all that it imports
    touch "$root/tools"
fi
"$python" "$here/cross_files.py" "$root" "$here/pyconfig.h"
winpython -c 'import sys; print("Windows Python", sys.version.split()[0], "under Wine")'
