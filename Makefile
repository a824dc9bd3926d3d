# Everything runs in .venv, which `make` sets up by itself. `make help` lists what there is to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' operator/edgeherd/__init__.py)
IMAGE ?= edgeherd:$(VERSION)
# docker or podman
CONTAINER_TOOL ?= docker
# More than there are cores: the e2e tests mostly wait.
WORKERS ?= 4

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Create .venv with everything (once; again when the dependencies change)

$(READY): pyproject.toml constraints.txt operator/edgeherd/__init__.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt --no-deps azure-iot-hub
	@touch $@

.PHONY: demo
demo: $(READY) ## Show the whole product on this machine; KEEP=1 leaves it running
	@$(BIN)/edgeherd demo $(if $(KEEP),--keep)

.PHONY: run
run: $(READY) ## Run the operator of this tree on the cluster of KUBECONFIG or of the current kubectl context
	@$(BIN)/kubectl config current-context >/dev/null 2>&1 || \
	  { echo 'make run needs a cluster: set KUBECONFIG, or choose a context with kubectl config use-context.' >&2; exit 1; }
	@KUBECONFIG="$${KUBECONFIG:-$$HOME/.kube/config}" exec $(BIN)/edgeherd run

.PHONY: image
image: ## Build the image edgeherd:VERSION, with docker or CONTAINER_TOOL=podman
	$(CONTAINER_TOOL) build --tag $(IMAGE) .

# What mostly waits runs beside what computes, and each pytest imports and collects only its own part. What is in neither
# list is traced for coverage, which doubles what it costs (Python 3.11 traces by a callback).
WAITING := tests/e2e tests/device_suite tests/machine tests/sim_devices tests/sim_demo
COMPUTING := tests/config tests/sim_hub tests/sim_kube tests/manifests
PYTEST := $(BIN)/python -m pytest --dist worksteal

.PHONY: test
test: $(READY) ## Run all tests, the e2e included, and see that coverage has not fallen; ARGS="-k x" runs some of them
ifneq ($(ARGS),)
	@$(PYTEST) -n $(WORKERS) $(ARGS)
else
	@$(PYTEST) -n $(WORKERS) -p no:cacheprovider $(WAITING) >.waiting.log 2>&1 & waiting=$$!; \
	$(PYTEST) -n 2 -p no:cacheprovider $(COMPUTING); computed=$$?; \
	$(PYTEST) -n 2 --cov --cov-report= $(addprefix --ignore=,$(WAITING) $(COMPUTING)); rest=$$?; \
	wait $$waiting; waited=$$?; cat .waiting.log; \
	$(BIN)/coverage report --format=total >.coverage-total; covered=$$?; echo "coverage: $$(cat .coverage-total) %"; \
	exit $$((computed | rest | waited | covered))
endif

.PHONY: e2e
e2e: $(READY) ## Run the e2e tests alone (on KUBECONFIG, KUBEBUILDER_ASSETS or the simulator)
	@$(BIN)/python -m pytest -m e2e $(ARGS)

.PHONY: test-device
test-device: $(READY) ## Run the device tests on a Debian machine that is built and booted here (as root)
	@if ! { command -v debootstrap && command -v systemd-nspawn && command -v ip; } >/dev/null && [ "$$(id -u)" = 0 ] && \
	  command -v apt-get >/dev/null; then \
	  apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends debootstrap systemd-container iproute2 >/dev/null; \
	fi
	@$(BIN)/python tests/machine/build.py
	@EDGEHERD_TEST_MACHINE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/machine tests/device_suite $(ARGS)

# What becomes of each userland and server is in docs/devices.md; a run writes it anew.
.PHONY: test-shells
test-shells: $(READY) ## Run the device's scripts in the userlands of four releases of Debian, which are built here (as root)
	@command -v debootstrap >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends debootstrap >/dev/null; }
	@$(BIN)/python tests/machine/userlands.py
	@EDGEHERD_TEST_SHELLS=1 $(PYTEST) -n $(WORKERS) -p no:cacheprovider --junit-xml=.shells.xml tests/device/test_ssh_servers.py \
	  $(wildcard tests/device/test_scripts*.py) $(ARGS); passed=$$?; \
	$(BIN)/python tests/machine/shells_table.py .shells.xml; exit $$passed

.PHONY: bench
bench: $(READY) ## Measure what an edit, the loop and a namespace cost others (minutes); BENCH_JSON=file for the figures
	@$(BIN)/python tests/bench/editing.py
	@$(BIN)/python tests/bench/lag.py
	@$(BIN)/python tests/bench/isolation.py

.PHONY: fmt
fmt: $(READY) ## Format everything, and fix what ruff can fix
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

.PHONY: lint
lint: $(READY) ## ruff, mypy and import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: check
check: lint test ## lint and test

.PHONY: lock
lock: ## Resolve the dependencies anew and write their versions into constraints.txt
	@rm -rf .lock && $(PYTHON) -m venv .lock
	@.lock/bin/python -m pip --disable-pip-version-check install -qq '.[dev]'
	@{ echo '# The versions that the tests ran with, written by make lock.'; \
	  .lock/bin/python -m pip --disable-pip-version-check freeze | grep -v '^edgeherd'; } > constraints.txt
	@rm -rf .lock

.PHONY: clean
clean: ## Remove what the targets made
	rm -rf $(VENV) .waiting.log .shells.xml .coverage .coverage-total .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
