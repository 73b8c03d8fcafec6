#!/usr/bin/env bash
# Installs what the reliability programme needs beside gcc, where it is missing: clang with libFuzzer, Relacy, cross
# compilers and qemu. Debian and Ubuntu; elsewhere says what is missing, and the parts that need it fail.
set -euo pipefail
declare -A needed=(
    [clang]=clang
    [g++]=g++
    [qemu-aarch64-static]=qemu-user-static
    [aarch64-linux-gnu-gcc]=gcc-aarch64-linux-gnu
    [arm-linux-gnueabihf-gcc]=gcc-arm-linux-gnueabihf
    [i686-linux-gnu-gcc]=gcc-i686-linux-gnu
    [s390x-linux-gnu-gcc]=gcc-s390x-linux-gnu
    [powerpc-linux-gnu-gcc]=gcc-powerpc-linux-gnu
)
packages=()
for program in "${!needed[@]}"; do
    command -v "$program" >/dev/null || packages+=("${needed[$program]}")
done
# The cross compilers come without their C libraries.
for machine in aarch64-linux-gnu:arm64 arm-linux-gnueabihf:armhf i686-linux-gnu:i386 s390x-linux-gnu:s390x \
    powerpc-linux-gnu:powerpc; do
    [ -e "/usr/${machine%%:*}/lib/libc.a" ] || packages+=("libc6-dev-${machine##*:}-cross")
done
compgen -G "$(clang -print-resource-dir 2>/dev/null)/lib/*/libclang_rt.fuzzer*" >/dev/null || packages+=(libclang-rt-dev)
[ -e /usr/include/relacy/relacy.hpp ] || packages+=(relacy-dev)
((${#packages[@]})) || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "missing for make verify: ${packages[*]} (Debian's names); install them, or run as root" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
