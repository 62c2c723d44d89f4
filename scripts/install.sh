#!/bin/sh
# install.sh app|dev: puts pinned packages, checked against their hashes, into .venv; app also the checkout itself.
set -eu

pip() {
    if [ -f .make/pip-from ]; then
        "$(cat .make/pip-from)" -m pip --python .venv/bin/python "$@"
    else
        .venv/bin/python -m pip "$@"
    fi
}
install() {
    pip install --quiet --disable-pip-version-check --no-input "$@"
}

case $1 in
app)
    echo "Installing Tocsin and what it needs (about a minute the first time)"
    install --require-hashes -r requirements-build.txt -r requirements.txt
    install --no-deps --no-build-isolation --editable .
    .venv/bin/python -m compileall -q src/tocsin # a start need not, even where Python is told to write no bytecode
    ;;
dev)
    echo "Installing what the checks need"
    install --require-hashes -r requirements-dev.txt
    ;;
node)
    install --require-hashes -r requirements-node.txt
    ;;
*)
    echo "usage: install.sh app|dev|node" >&2
    exit 2
    ;;
esac
