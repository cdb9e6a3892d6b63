# Beacon's tasks. Each sets up what it needs; the first call makes a virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GATE = $(BIN)/python -m tests.gate $(if $(JOBS),--jobs $(JOBS))

IMAGE ?= beacon:latest
BUILDER ?= podman
BUILD := $(BUILDER) build -f Containerfile --build-arg REVISION=$$(git rev-parse HEAD)

.PHONY: help setup run test lint format test-quick test-unit test-interpreters test-contract test-integration test-endpoints test-system soak dashboard schema bench lock clean sbom audit lock-tools
.PHONY: image image-test

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.ready ## make the virtual environment

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## show Beacon delivering events; CONFIG=file KUBECONFIG=file: against a real cluster
	@$(BIN)/python -m beacon.dev.demo $(if $(CONFIG),--config $(CONFIG)) $(if $(CONFIG),$(if $(KUBECONFIG),--kubeconfig $(KUBECONFIG)))

test: lint ## everything that must stay true; BESIDE=image: the image's tests run beside it
	$(GATE) $(if $(BESIDE),--beside $(BESIDE))

lint: setup ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-quick: setup ## an answer within a minute: the unit tests that take no seconds
	$(GATE) quick

test-unit: setup ## pure functions, the ledger on real files, the alerts, the manifests
	$(GATE) unit

test-contract: setup ## what we rely on of an API server; BEACON_TEST_KUBECONFIG=file: of a real one, too
	$(GATE) contract

test-integration: setup ## real processes and sockets
	$(GATE) integration

test-endpoints: setup ## nginx, HAProxy and Envoy in front of a receiver
	$(GATE) endpoints

test-system: setup ## everything under a real supervisord, killed at many points
	$(GATE) system

test-interpreters: setup ## what depends on the interpreter, on every supported one that is installed, with the runtime lock alone
	$(GATE) interpreters

soak: setup ## mishaps for MINUTES=30 minutes, then what was told is compared with what happened
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

dashboard: setup ## make grafana/dashboard.json of grafana/dashboard.yaml
	$(BIN)/python grafana/generate.py

schema: setup ## make docs/configuration.schema.json, and the tables of docs/configuration.md, of the model
	$(BIN)/python -m beacon.dev.reference

bench: setup ## the figures of docs/performance.md; ROWS='steady backlog' RUNS=3 JSON=file AGAINST=checkout PROFILE=directory
	$(BIN)/python -m tests.bench --documented $(ROWS) $(if $(RUNS),--runs $(RUNS)) $(if $(JSON),--json $(JSON)) \
		$(if $(AGAINST),--against $(AGAINST)) $(if $(PROFILE),--profile $(PROFILE))

image: ## build the image IMAGE=beacon:latest, and the test endpoint's, with BUILDER=podman or docker
	$(BUILD) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) -t $(IMAGE) .
	$(BUILD) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --target test-endpoint -t beacon-test-endpoint:latest .

image-test: setup ## build the image without a registry, run it and hurt it (needs root, podman, buildah, runc, mmdebstrap)
	$(GATE) image

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet

lock: ## resolve the requirements anew (needs uv)
	$(COMPILE) --upgrade pyproject.toml -o requirements.lock
	$(COMPILE) --upgrade --extra demo --extra dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --upgrade --group pyproject.toml:test-endpoint -c requirements-dev.lock -o requirements-test-endpoint.lock
	$(COMPILE) --upgrade --group pyproject.toml:build -c requirements-dev.lock -o requirements-build.lock

TOOLS := .tools
WITHOUT_DATA := nothing was audited, because the data could not be had; try where PyPI can be reached

$(TOOLS)/.ready: requirements-tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tools.lock
	@touch $@

sbom: $(TOOLS)/.ready ## list what Beacon is made of: dist/beacon.cdx.json (CycloneDX)
	@mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--output-file dist/beacon.cdx.json

audit: $(TOOLS)/.ready ## look for known vulnerabilities in what Beacon is made of (needs PyPI)
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off --requirement requirements.lock \
		|| { echo "The audit did not pass. Unless vulnerabilities are listed above: $(WITHOUT_DATA)." >&2; exit 1; }

lock-tools: ## resolve anew what sbom and audit need (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--no-strip-extras --quiet --upgrade requirements-tools.in -o requirements-tools.lock

clean: ## remove what setup and the tests made
	rm -rf $(VENV) $(TOOLS) .interpreters .run .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
