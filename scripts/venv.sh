#!/bin/sh
# Makes .venv from the first Python of at least 3.11 it finds ($PYTHON goes first).
# Works without ensurepip (Debian's bare python3) as long as some pip is there.
set -eu

if [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    exit 0
fi

found=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        found=$candidate
        break
    fi
done
if [ -z "$found" ]; then
    echo "Tocsin needs Python 3.11 or newer, and there is none on the PATH." >&2
    echo "On Debian or Ubuntu:  sudo apt-get install python3 python3-venv" >&2
    echo "Elsewhere: install it, then  make run PYTHON=/path/to/python3" >&2
    exit 1
fi

echo "Making .venv with $("$found" --version)"
rm -rf .venv
if "$found" -c 'import ensurepip' 2>/dev/null; then
    "$found" -m venv .venv
elif "$found" -m pip --version >/dev/null 2>&1; then
    # No ensurepip: the pip that is there installs into .venv from outside (scripts/install.sh).
    "$found" -m venv --without-pip .venv
    command -v "$found" > .make/pip-from
else
    echo "$found has neither pip nor ensurepip, so nothing can be installed with it." >&2
    echo "On Debian or Ubuntu:  sudo apt-get install python3-venv" >&2
    exit 1
fi
