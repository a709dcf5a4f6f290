.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# jsii (CDK) and the CDK CLI must find the Node of the virtual environment, not the machine's.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Many processes start, and without bytecode each compiles for seconds what it imports, as in most container images.
unexport PYTHONDONTWRITEBYTECODE

$(BIN)/.installed: requirements/dev.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Vigil needs Python 3.11 or later; set PYTHON=/path/to/python3")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): 1 GB, which takes some minutes the first time ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@# uv is ten times faster; pip knows the registries that only pip is configured for, and says what is wrong with both.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(BIN)/.installed ## Install everything into .venv

# The CDK CLI, the validator of the state machine, the JSONata that AWS names, and the tests' browser with its fonts.
NPM := $(VENV)/npm
$(NPM)/.installed: requirements/package.json requirements/package-lock.json $(BIN)/.installed
	@mkdir -p $(NPM)
	@cp requirements/package.json requirements/package-lock.json $(NPM)
	@$(BIN)/npm ci --prefix $(NPM) --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# The package unpacks into the folder for temporary files, by default one that all users share.
CHROMIUM := $(VENV)/chromium
.PHONY: browser
browser: $(CHROMIUM)/.installed ## Install the browser in which pages are tested, as `make test` does
$(CHROMIUM)/.installed: $(NPM)/.installed
	@rm -rf $(CHROMIUM) && mkdir $(CHROMIUM)
	@cd $(NPM)/node_modules/@sparticuz/chromium/bin && TMPDIR="$(CURDIR)/$(CHROMIUM)" node --eval \
	  'import("@sparticuz/chromium").then(({ inflate }) => Promise.all(["chromium.br", "al2023.tar.br"].map(inflate)))'
	@touch $@

.PHONY: lock
lock: install ## Update the locked dependencies, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --all-extras --output-file requirements/dev.txt pyproject.toml
	@# What goes to AWS is what runs here: the same versions.
	$(BIN)/uv pip compile --quiet --python-platform aarch64-manylinux_2_28 --python-version 3.13 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --constraint requirements/dev.txt --custom-compile-command "make lock" --output-file requirements/agent.txt pyproject.toml
	echo uv | $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --output-file requirements/uv.txt -
	@# Without the addresses of the registry that this machine uses.
	rm -f requirements/package-lock.json
	$(BIN)/npm install --prefix requirements --silent --package-lock-only --omit-lockfile-registry-resolved
	@# Nor those at which packages ask for money.
	$(BIN)/python -c 'import json, pathlib; lock = pathlib.Path("requirements/package-lock.json"); data = json.loads(lock.read_text()); \
	  [package.pop("funding", None) for package in data["packages"].values()]; lock.write_text(json.dumps(data, indent=2) + "\n")'

.PHONY: run
run: install ## Take an event through the whole chain on this machine, and show it live (ARGS="--days 14")
	@$(BIN)/vigil run --local $(ARGS)

.PHONY: local
local: install ## Start the local stack in the foreground (PORT=4566, ARGS="--agent package.module:factory")
	@$(BIN)/vigil local up --port $(or $(PORT),4566) $(ARGS)

.PHONY: trigger-workflow
export DETAIL
trigger-workflow: install ## Publish the event that starts a session (DETAIL='{"days": 30}'), on AWS or the local stack
	@# DETAIL comes by the environment, whatever quotes are in it.
	@$(BIN)/vigil trigger $(if $(DETAIL),--detail "$$DETAIL")

.PHONY: synth
synth: install ## Write the CloudFormation template to cdk.out
	$(BIN)/python app.py

.PHONY: package
package: install ## Build the agent's code package (arm64, Python 3.13) into cdk.out
	VIGIL_BUNDLE=1 $(BIN)/python app.py

# The CDK CLI uploads the assets and creates the stack.
CDK := $(NPM)/node_modules/.bin/cdk --app cdk.out

.PHONY: bootstrap
bootstrap: synth $(NPM)/.installed ## Prepare the AWS account and region for the CDK, once
	$(CDK) bootstrap $(ARGS)

.PHONY: deploy
deploy: package $(NPM)/.installed ## Deploy to the AWS account or local stack that the environment names (ARGS="--parameters ModelId=...")
	$(CDK) deploy --require-approval never $(ARGS)

.PHONY: destroy
destroy: synth $(NPM)/.installed ## Remove the stack, without asking, from the AWS account or local stack that the environment names; the bucket with the reports stays
	$(CDK) destroy --force

.PHONY: check
check: install $(NPM)/.installed ## Lint, type-check, check template and state machine, audit the dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell src infra tests docs examples benchmarks *.md
	@# No function has more than 60 lines, and no module more than 400.
	$(BIN)/lizard -l python -L 60 -C 999 -w src infra
	@find src infra -name '*.py' | xargs wc -l | awk '$$2 != "total" && $$1 > 400 {print $$2 ": " $$1 " lines"; long = 1} END {exit long}'
	CDK_OUTDIR=build/check VIGIL_NAG=1 $(BIN)/python app.py
	$(BIN)/python -m tests.infra.nag build/check
	@# W3005: CDK writes out dependencies that a GetAtt implies.
	$(BIN)/cfn-lint --ignore-checks W3005 -- build/check/Vigil.template.json
	$(BIN)/python -m infra.definition build/check/Vigil.template.json >build/check/workflow.asl.json
	$(NPM)/node_modules/.bin/asl-validator --json-path build/check/workflow.asl.json
	$(BIN)/python requirements/audit.py requirements/dev.txt requirements/agent.txt

.PHONY: test
test: install $(CHROMIUM)/.installed ## Run all tests, in an order and a time zone that are drawn (SEED=123: those of an earlier run)
	@# Six on two cores: many tests wait for time to pass.
	$(BIN)/python -m pytest -n 6 --dist loadgroup --no-loadscope-reorder $(if $(SEED),--randomly-seed=$(SEED))

.PHONY: test-fast
test-fast: install ## Run the tests that start no server
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

.PHONY: test-engine
test-engine: install $(NPM)/.installed ## Run the engine's tests without the package of the agent that ships
	$(BIN)/python -m tests.engine

.PHONY: requirements
requirements: install ## Write into docs/requirements.md which tests prove which criterion
	$(BIN)/python -m tests.requirements

.PHONY: faults
faults: install ## Inject every fault and write into docs/faults.md how it ended (ARGS=--check: write nothing)
	$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: kills
kills: install ## Kill and freeze agents at each of their changes, and at random times (ARGS="--sample 50 --at-random 20 --seed 1": only some)
	$(BIN)/python -m tests.kills $(ARGS)

.PHONY: bench-waiting
bench-waiting: install ## Measure how fast and how cheaply the end of a session is seen (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.waiting $(ARGS)

.PHONY: bench-steps
bench-steps: install ## Compute what the steps of a session cost on DynamoDB (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.steps $(ARGS)

.PHONY: bench-attempts
bench-attempts: install ## Measure what it costs that a session can be continued (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.attempts $(ARGS)

.PHONY: bench-soak
bench-soak: install ## Run 200 sessions at once and 1,000 in a row (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.soak $(ARGS)

.PHONY: bench-bursts
bench-bursts: install ## Run 1,000 events at once on an AWS that starts 5 a second, and simulate 100,000 (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.bursts $(ARGS)

.PHONY: bench-findings
bench-findings: install ## Score the analysis on accounts whose truth is known (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.findings $(ARGS)

.PHONY: bench-field
bench-field: install ## Score the analysis on simulated accounts, each proposal by every invocation (ARGS="--seeds 1 --verbose", ARGS="--seeds 7001 7002 --write": into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.field $(ARGS)

.PHONY: eval
export MODEL
eval: install ## Evaluate a model as the cost agent on accounts of known truth (MODEL=as VIGIL_MODEL, ARGS="--seed 2 --accounts 5")
	@$(BIN)/python -m benchmarks.evaluation "$$MODEL" $(ARGS)

.PHONY: bench-scale
bench-scale: install ## Measure the analysis of 125 to 1,000 functions (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.scale $(ARGS)

.PHONY: bench-console
bench-console: install $(CHROMIUM)/.installed ## Measure the console in a browser (ARGS=--write: into docs/benchmarks.md)
	$(BIN)/python -m benchmarks.console $(ARGS)

.PHONY: clean
clean: ## Remove everything that was built, except the virtual environment
	rm -rf build cdk.out out .vigil .mypy_cache .ruff_cache .pytest_cache

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'
