#!/bin/sh
# test.sh all|static: every check under its own heading. All of them run even when one fails; the exit code is 1 if
# any did. The last lines are pytest's own summary.
set -u

PATH="$PWD/.venv/bin:$PATH"
export PATH
failed=

said=$(mktemp)
trap 'rm -f "$said"' EXIT

# A check that passes says so in one line; one that fails is heard out.
section() {
    title=$1
    shift
    printf '\n── %s\n' "$title"
    began=$(date +%s)
    if "$@" >"$said" 2>&1; then
        printf 'fine, %s s\n' "$(($(date +%s) - began))"
    else
        cat "$said"
        failed="$failed${failed:+, }$title"
    fi
}

section format ruff format --check --quiet src tests bench
section lint ruff check --quiet src tests bench
section types mypy --no-error-summary
section imports lint-imports --no-cache --no-logo
section web npm --prefix web run --silent check

if [ "$1" = all ]; then
    scripts/chromium.sh || failed="$failed${failed:+, }chromium"
    [ -z "$failed" ] || printf '\nFailed so far: %s\n' "$failed"
    # Whole files to each worker: what a file shares (a database, a server, a browser) is then made once. The browser's
    # driver keeps an event loop running in its worker, in which no asynchronous test can run: those get their own.
    printf '\n── tests: unit, contract, acceptance\n'
    pytest -n 2 --dist loadfile --quiet --ignore tests/browser || failed="$failed${failed:+, }tests"
    printf '\n── tests: browser\n'
    pytest -n 2 --dist loadfile --quiet tests/browser || failed="$failed${failed:+, }browser"
fi

if [ -n "$failed" ]; then
    echo "Failed: $failed" >&2
    exit 1
fi
