#!/bin/sh
# Pins every Python package with its hashes, for every platform, naming no download address.
# With arguments they go to uv: `scripts/lock.sh --upgrade-package fastapi`. Without any, everything moves up.
set -eu

[ $# -gt 0 ] || set -- --upgrade
compile() {
    .venv/bin/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes \
        --no-emit-index-url --no-header "$@"
}
compile "$@" -o requirements.txt pyproject.toml
compile "$@" -o requirements-dev.txt -c requirements.txt pyproject.toml --group dev
compile "$@" -o requirements-build.txt -c requirements-dev.txt --group build
compile "$@" -o requirements-node.txt --group node
