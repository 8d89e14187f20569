# Everything here sets itself up: a virtual environment in .venv from locked, hashed versions, and (as root) the Debian
# packages that a target needs. As an ordinary user a missing one is named with the command that installs it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PACKAGES := gcc iproute2 libc6-dev mosquitto mosquitto-clients mbpoll nftables openssl ser2net socat
DEB_PACKAGES := debhelper dpkg-dev
INSTALL_PACKAGES := $(DEB_PACKAGES) arch-test binfmt-support lintian mbpoll mmdebstrap mosquitto mosquitto-clients \
	openssl qemu-user-static systemd-container
ARCH ?= $(shell dpkg --print-architecture)
REVISION ?= 1

.PHONY: help demo test lint bench soak install deb test-install clean

help:
	@echo "make demo   the whole thing on this machine, without hardware (SECONDS=30: plain lines, then ends)"
	@echo "make test   lint, types and all tests"
	@echo "make bench  the figures, ser2net beside them (ROWS=\"modbus raw\" for some of them)"
	@echo "make soak   what takes too long for a test"
	@echo "make deb    the package for this machine, or ARCH=arm64|armhf|amd64, in dist/"
	@echo "make test-install  (as root) the packages on Debian 12 and 13, in containers and emulated"
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

deb: $(VENV)/run
	@tools/packages $(DEB_PACKAGES)
	packaging/deb $(ARCH) $(REVISION)

test-install: $(VENV)/test
	@[ "$$(id -u)" != 0 ] || tools/packages $(INSTALL_PACKAGES)
	$(BIN)/pytest -m install --timeout 3600 tests/install

clean:
	rm -rf $(VENV) build dist

# An extra's environment holds what the smaller ones hold, so the last one made is the one that counts.
$(VENV)/%: requirements/%.txt requirements/build.txt pyproject.toml
	@PYTHON="$(PYTHON)" tools/environment $(VENV) $< --editable
	@touch $@

.PHONY: packages
packages:
	@tools/packages $(TEST_PACKAGES)
