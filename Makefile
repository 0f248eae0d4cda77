# caseus: `make serve` is all that is needed on a fresh machine with Python 3.11 or newer.
SHELL := /bin/sh
.DEFAULT_GOAL := install
.PHONY: install serve test-deps test proof check lock bench clean

# The Python that makes .venv; give another by `make PYTHON=/path/to/python3 install`.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$python"; break; fi; done)

# Debian packages whose programs the tests run; installed by `make test-deps` where it is root.
SYSTEM_PACKAGES := apache2-utils caddy chromium curl e2fsprogs gnupg mount nginx-light openssl systemd util-linux wrk

# The servers that caseus is compared with and taken over from: each has an environment of its own.
PEERS := devpi dumb-pypi proxpi pypiserver simple-repository-server

BIN := .venv/bin
QUIET := --quiet --disable-pip-version-check
INSTALL := -m pip install $(QUIET)

install: .venv/.installed

.venv/.installed: requirements.txt pyproject.toml
	@test -x $(BIN)/pip || { test -n "$(PYTHON)" && "$(PYTHON)" -m venv .venv; } || { \
		echo "caseus needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)" >&2; exit 2; }
	$(BIN)/python $(INSTALL) --require-hashes -r requirements.txt
	$(BIN)/python $(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Flags go in ARGS: make serve ARGS="--port 8081 --read users"
serve: install
	@exec $(BIN)/caseus serve ./caseus-data $(ARGS)

.venv/.developed: .venv/.installed requirements-dev.txt
	$(BIN)/python $(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

.venv-clients/.installed: requirements-clients.txt | .venv/.installed
	@test -x .venv-clients/bin/pip || $(BIN)/python -m venv .venv-clients
	.venv-clients/bin/python $(INSTALL) --require-hashes -r requirements-clients.txt
	@touch $@

.venv-peers/%/.installed: requirements-peers/%.txt | .venv/.installed
	@test -x .venv-peers/$*/bin/python || $(BIN)/python -m venv --without-pip .venv-peers/$*
	$(BIN)/python -m pip --python .venv-peers/$*/bin/python install $(QUIET) --require-hashes -r $<
	@touch $@

test-deps: .venv/.developed .venv-clients/.installed $(PEERS:%=.venv-peers/%/.installed)
	@missing=; for package in $(SYSTEM_PACKAGES); do \
		dpkg -s "$$package" >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -q -y --no-install-recommends $$missing; \
	else echo "the tests need: apt-get install$$missing" >&2; exit 2; fi

# All tests, or some: make test ARGS="tests/unit -k config"
test: test-deps
	$(BIN)/pytest -n 2 $(ARGS)

# The long form of the tests that show the promises; writes docs/promises.md. Needs root, to mount disks.
proof: test-deps
	@rm -f .proof.jsonl
	$(BIN)/pytest -q --proof .proof.jsonl $$(PYTHONPATH=tests $(BIN)/python -m proof)
	PYTHONPATH=tests $(BIN)/python -m proof .proof.jsonl docs/promises.md

check: .venv/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src tests bench
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_docs.py

# New pins of everything; no host is written into them.
COMPILE := .venv-clients/bin/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header \
	--universal --python-version 3.11
lock: .venv-clients/.installed
	$(COMPILE) pyproject.toml requirements.in -o requirements.txt
	$(COMPILE) requirements-dev.in -o requirements-dev.txt
	$(COMPILE) --no-strip-extras requirements-clients.in -o requirements-clients.txt
	for peer in $(PEERS); do \
		$(COMPILE) --no-strip-extras requirements-peers/$$peer.in -o requirements-peers/$$peer.txt || exit; done

# caseus beside nginx and other servers; writes docs/benchmarks.md. Some parts only: make bench ARGS="--quick --only reads"
bench: test-deps
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

clean:
	rm -rf .venv .venv-clients .venv-peers dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
