#!/usr/bin/env bash
# Say in one sentence which tools for building are missing. The argument is the Python to build with.
set -u
python=${1:-python3}
missing=()
packages=()

need() { # what is missing, Debian package
    missing+=("$1")
    packages+=("$2")
}

command -v git >/dev/null || need git git
command -v make >/dev/null || need make make
command -v "${CXX:-g++}" >/dev/null || need "${CXX:-g++}" g++
if ! command -v "$python" >/dev/null; then
    need "$python" python3
    need "its venv module" python3-venv
    need "its headers" python3-dev
else
    "$python" -c 'import venv, ensurepip' 2>/dev/null || need "the venv module of $python" python3-venv
    "$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        need "the headers of $python (Python.h)" python3-dev
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        echo "$python is $("$python" -V 2>&1), and this needs Python 3.10 or newer: name one with make PYTHON=python3.11 ..." >&2
        exit 1
    fi
fi

[ ${#missing[@]} -eq 0 ] && exit 0
list=$(printf ', %s' "${missing[@]}")
echo "Missing: ${list:2}; on Debian or Ubuntu install with: sudo apt-get install -y ${packages[*]}" >&2
exit 1
