# Everything a checkout can do. `make run` and `make test` are all most people need; neither asks for anything
# but Python 3.11+ to be there first, and what they fetch goes into .venv and web/node_modules only.
#
# Files in .make/ say what has been done; each depends on what would make it out of date.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check bench web lock clean FORCE

WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print 2>/dev/null | sed 's/ /\\ /g')

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 16

run: .make/app .make/web ## install what is missing, build the web app, start Tocsin (ARGS="--port 9000")
	@exec .venv/bin/tocsin up $(ARGS)

test: .make/dev .make/web ## run every check: format, lint, types, imports, web, unit, contract, acceptance, browser
	@scripts/test.sh all

check: .make/dev .make/web-packages ## run the checks that start nothing: format, lint, types, imports, web
	@scripts/test.sh static

bench: .make/dev .make/web ## measure, and write bench/out/results.json (ARGS="--quick" for two minutes)
	@exec .venv/bin/python -m bench $(ARGS)

web: .make/web ## build the web app

lock: .make/dev ## choose new versions and pin them, with their hashes
	@scripts/lock.sh

clean: ## remove everything make made; tocsin-data stays
	rm -rf .venv .make web/node_modules web/dist src/tocsin/web bench/out .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A checkout that was moved needs a new .venv, because scripts in it name their place; so does one whose .venv is
# gone or whose Python was removed.
.make/place: FORCE
	@mkdir -p .make
	@if [ -f $@ ] && [ "$$(cat $@)" != "$$PWD" ]; then rm -rf .venv .make/*; fi
	@if ! .venv/bin/python -c '' 2>/dev/null; then rm -rf .make/*; fi
	@[ -f $@ ] || printf '%s' "$$PWD" > $@

.make/python: .make/place scripts/venv.sh
	@scripts/venv.sh
	@touch $@

.make/app: .make/python scripts/install.sh requirements-build.txt requirements.txt pyproject.toml
	@scripts/install.sh app
	@touch $@

.make/dev: .make/app requirements-dev.txt
	@scripts/install.sh dev
	@touch $@

.make/node: .make/python requirements-node.txt scripts/node.sh
	@scripts/node.sh
	@touch $@

.make/web-packages: .make/node web/package.json web/package-lock.json
	@echo "Installing the web app's packages"
	@PATH="$$PWD/.venv/bin:$$PATH" npm --prefix web ci --no-audit --no-fund --loglevel=error
	@touch $@

.make/web: .make/app .make/web-packages $(WEB_SOURCES)
	@echo "Building the web app"
	@PATH="$$PWD/.venv/bin:$$PATH" npm --prefix web run --silent build > .make/web.log 2>&1 || { cat .make/web.log >&2; exit 1; }
	@touch $@
