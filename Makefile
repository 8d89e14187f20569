# Everything here sets itself up: a virtual environment in .venv from locked, hashed versions, and (as root) the Debian
# packages that a target needs. As an ordinary user a missing one is named with the command that installs it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PACKAGES := iproute2 mosquitto mosquitto-clients mbpoll nftables openssl ser2net socat

.PHONY: help demo test lint bench soak install clean

help:
	@echo "make demo   the whole thing on this machine, without hardware (SECONDS=30: plain lines, then ends)"
	@echo "make test   lint, types and all tests"
	@echo "make bench  the figures, ser2net beside them (ROWS=\"modbus raw\" for some of them)"
	@echo "make soak   what takes too long for a test"
	@echo "make install  (as root) into /opt/gateway, with its service"

demo: $(VENV)/demo
	@$(BIN)/gateway-demo

test: $(VENV)/test packages lint
	$(BIN)/pytest

lint: $(VENV)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/test packages
	$(BIN)/python -m bench $(ROWS)

soak: $(VENV)/test packages
	$(BIN)/pytest -m soak --timeout 3600

install:
	@PYTHON="$(PYTHON)" tools/install

clean:
	rm -rf $(VENV) build dist

# An extra's environment holds what the smaller ones hold, so the last one made is the one that counts.
$(VENV)/%: requirements/%.txt requirements/build.txt pyproject.toml
	@PYTHON="$(PYTHON)" tools/environment $(VENV) $< --editable
	@touch $@

.PHONY: packages
packages:
	@tools/packages $(TEST_PACKAGES)
