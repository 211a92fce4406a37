# The order pipeline. `make` lists what there is.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

# The makefiles that `sam build` runs find each other by MAKEFILE_LIST, which separates paths by spaces.
ifneq ($(words $(CURDIR)),1)
$(error the path of this folder has a space in it, which make cannot work with: move it to another one than $(CURDIR))
endif

# No variable of the command line reaches a shell as code. The tools read them from the environment (`cli.option`), so recipes
# name none of them; what recipes do name is `override`, and the values are taken as they are, not expanded.
$(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),\
  $(eval override $(name) := $$(value $(name)))$(eval export $(name))))

override BIN := .venv/bin
override UV := .venv-tools/bin/uv
override PY := $(BIN)/python
BACKEND ?= embedded
# An environment of samconfig.toml.
ENV ?= default
export BACKEND ENV
export SAM_CLI_TELEMETRY := 0
# `sam build` looks for python3.13 on PATH.
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.venv-tools/bin:$(PATH)

##@ Environments

setup: .venv .venv-emulator .venv-localstripe .venv-security ## Create the Python environments from the locks; does nothing when they are current

runtime: .venv .venv-emulator

# $(call sync,lock,options): makes the environment $@ what its lock says, unless it is that already.
override sum = $$(cksum < $(1))
override define sync
@[ "$$(cat $@/.lock 2>/dev/null)" = "$(call sum,$(1))" ] || { \
  echo "setup  $@"; \
  { [ -x $@/bin/python ] || $(UV) venv --quiet --no-config --python "$$(devtools/find-python)" $@; } && \
  $(UV) pip sync --quiet --no-config --require-hashes --compile-bytecode --python $@/bin/python $(1) && \
  $(if $(2),$(UV) pip install --quiet --no-config --no-deps --python $@/bin/python $(2) &&) \
  echo "$(call sum,$(1))" > $@/.lock; }
endef

.venv: .venv-tools
	$(call sync,requirements/dev.txt,--editable .)

.venv-emulator: .venv-tools
	$(call sync,requirements/emulator.txt)

.venv-localstripe: .venv-tools
	$(call sync,requirements/localstripe.txt)

.venv-security: .venv-tools
	$(call sync,requirements/security.txt)

.venv-tools:
	@[ "$$(cat $@/.lock 2>/dev/null)" = "$(call sum,requirements/tools.txt)" ] || { \
	  echo "setup  $@" && python=$$(devtools/find-python) && "$$python" -m venv --clear $@ && \
	  $@/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt && \
	  echo "$(call sum,requirements/tools.txt)" > $@/.lock; }

# $(call compile-lock,group,options)
override compile-lock = $(UV) pip compile --quiet --no-config --upgrade --universal --python-version 3.13 --generate-hashes --no-header --no-annotate --group $(1) $(2) -o requirements/$(1).txt
lock: .venv-tools ## Resolve every lock in requirements/ anew, to the newest versions
	$(call compile-lock,dev)
	@# What is shipped is what was tested.
	$(call compile-lock,layer,-c requirements/dev.txt)
	$(call compile-lock,identity,-c requirements/dev.txt)
	$(call compile-lock,payments,-c requirements/dev.txt)
	$(call compile-lock,emulator)
	$(call compile-lock,localstripe)
	$(call compile-lock,security)
	$(call compile-lock,tools)

##@ The pipeline on this machine

run: runtime ## Start the emulator, deploy, and watch orders of every outcome to their end and beyond
	@PYTHONPATH=functions $(PY) -m devtools.local.demo

order: runtime ## Place the order of a file and follow it: make order FILE=events/orders/place_order/accepted.json
	@$(PY) -m devtools.local.order

trace: runtime ## Show what caused what in an order, with times: make trace ORDER=ord_…
	@$(PY) -m devtools.ops.trace

logs: runtime ## Print the functions' logs
	@$(PY) -m devtools.ops.logs

token: runtime ## Print a bearer token for curl: make token CUSTOMER=ann
	@$(PY) -m devtools.local.token

carrier: runtime ## Play the carrier of an order: make carrier ORDER=ord_… DO=dispatch|deliver|lose|return|readings
	@PYTHONPATH=functions $(PY) -m devtools.local.carrier

redrive: runtime ## Send the messages of a dead-letter queue back, or run held-up sagas again: make redrive QUEUE=operations
	@PYTHONPATH=functions $(PY) -m devtools.ops.redrive

rebuild-view: runtime ## Make the customers' lists of orders again from the order log
	@$(PY) -m devtools.ops.rebuild_view

replay: runtime ## Send archived events again to what takes replays: make replay FROM=1h TO=2026-11-21T12:00:00Z RULE=OrderViewRule
	@$(PY) -m devtools.ops.replay

compare: runtime ## What a consumer here does otherwise than before, given captured events: make compare FUNCTION=LedgerPost BASE=HEAD EVENTS=file
	@PYTHONPATH=functions $(PY) -m devtools.ops.compare

sold: runtime ## What sells best, and the revenue by the minute
	@$(PY) -m devtools.ops.sales_report

dashboard: runtime ## A page with live plots of orders, revenue, best sellers and queues; OUT=file.html or .png keeps this moment
	@PYTHONPATH=functions $(PY) -m devtools.dashboard

balance: runtime ## Prove the ledger and print its balances; 1 where something does not add up
	@$(PY) -m devtools.ops.trial_balance

audit: runtime ## Ask the archive of all events: make audit SQL='select …', or QUERY=timeline ORDER=ord_… FROM=2026-11-01
	@$(PY) -m devtools.ops.audit

audit-proof: runtime ## Prove that the archive has every event of the log once, and nothing else: make audit-proof WAIT=60
	@$(PY) -m devtools.ops.audit_proof

flags: runtime ## Show the feature flags, or change them: make flags SET='hold_every_order=true' STACK=order-pipeline-prod NOW=1
	@PYTHONPATH=functions $(PY) -m devtools.ops.flags

stop: runtime ## Stop the emulator
	@$(PY) -m devtools.local.stop

invoke: runtime ## Run every function with its sample events in Lambda containers; needs a Docker engine
	@$(PY) -m devtools.local.invoke

bench: runtime ## Measure cold start, latency, throughput and the cost of an order, as ratios
	@PYTHONPATH=functions $(PY) -m devtools.bench

idle-cost: .venv ## What a stack costs in a month without orders, item by item: make idle-cost ENV=prod
	@$(PY) -m devtools.checks.idle_cost

.PHONY: load
load: runtime ## Many orders: make load ORDERS=100000 PRODUCTS=2000, TARGET=emulator; simulated: HOT=1 one product, INVOICES=1 numbering
	@PYTHONPATH=functions $(PY) -m tests.load

##@ Tests

ifeq ($(value BACKEND),localstack)
test: integration ## Check, unit tests, fault sweep, integration tests; BACKEND=localstack ENDPOINT=http://… runs the last there
else
test: setup
	@$(MAKE) check
	@$(MAKE) unit
	@$(MAKE) browser
	@$(MAKE) providers
	@$(MAKE) faults
	@$(MAKE) integration
endif

override PYTEST := $(PY) -m pytest -q
unit: .venv ## Unit and contract tests: rules, handlers, template; no network
	@$(PYTEST) tests/unit tests/contract

browser: .venv ## The dashboard's page as a browser shows it; needs a Chromium
	@$(PYTEST) tests/browser

providers: .venv .venv-localstripe ## What every payment provider has to do, on the sandbox and on Stripe's SDK against localstripe
	@$(PYTEST) tests/providers

faults: .venv ## Fail every AWS and provider call of an order in every way, in process
	@$(PYTEST) tests/faults -n 2 --dist worksteal

integration: runtime ## Orders through HTTP on the deployed stack
	@$(PYTEST) tests/integration

##@ Checks

override CHECKS := format-check lint types imports template states security github generated contracts-check
check: setup ## Format, lint, types, imports, template, state machines, security, generated files, contracts
	@$(MAKE) -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(CHECKS)

# $(call step,name,command): says nothing but its name and time, unless something was found.
override define step
@start=$$(date +%s); if out=$$({ $(2); } 2>&1); then printf 'ok     %-12s %3ss\n' "$(1)" "$$(($$(date +%s) - start))"; \
else printf '%s\nFAILED %s\n' "$$out" "$(1)" >&2; exit 1; fi
endef

format: .venv ## Format the code
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix --select I

format-check: .venv
	$(call step,format,$(BIN)/ruff format --check --output-format concise)

lint: .venv ## Ruff
	$(call step,lint,$(BIN)/ruff check --output-format concise)

types: .venv ## Pyright, strict
	$(call step,types,$(BIN)/pyright --warnings)

imports: .venv ## What may import what
	$(call step,imports,PYTHONPATH=functions:layers/powertools:. $(BIN)/lint-imports --no-cache)

template: .venv ## cfn-lint with its serverless rules, on the template and on what SAM makes of it
	$(call step,template,$(PY) -m devtools.checks.lint_template)

states: .venv ## State machines: every state reachable, every transition leading somewhere
	$(call step,states,$(PY) -m devtools.checks.lint_workflows)

security: .venv .venv-security ## checkov, on the template and on what SAM makes of it
	$(call step,security,$(PY) -m devtools.checks.lint_security)

# $(call schema,schema,files): the files against a schema of SchemaStore that the tool brings along.
override schema = .venv-security/bin/check-jsonschema --builtin-schema vendor.$(1) $(2)
github: .venv-security ## GitHub's workflows, forms and Dependabot: their schemas, and zizmor's security rules
	$(call step,github,$(call schema,github-workflows,.github/workflows/*.yml) && \
	  $(call schema,dependabot,.github/dependabot.yml) && $(call schema,github-issue-config,.github/ISSUE_TEMPLATE/config.yml) && \
	  $(call schema,github-issue-forms,.github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml) && \
	  .venv-security/bin/zizmor --quiet --offline --no-progress .github)

generated: .venv ## Files that are generated are current
	$(call step,generated,PYTHONPATH=functions $(PY) -m devtools.checks.openapi --check && $(PY) -m devtools.checks.diagram --check)

contracts-check: .venv
	$(call step,contracts,PYTHONPATH=functions $(PY) -m devtools.checks.contracts --check)

contracts: .venv ## Write the events' schemas and docs/events.md; say what changed since the last release, fail on what breaks somebody
	@PYTHONPATH=functions $(PY) -m devtools.checks.contracts

openapi: .venv ## Write the OpenAPI document from the models
	@PYTHONPATH=functions $(PY) -m devtools.checks.openapi

diagram: .venv ## Draw docs/resources.md from the template, one diagram per context
	@$(PY) -m devtools.checks.diagram

##@ AWS

# What Python leaves beside its sources would count as a change of them. The makefiles that `sam build` runs get no variables.
build: .venv ## Build what is deployed: make build ENV=prod
	@find functions layers -name __pycache__ -prune -exec rm -rf {} +
	@MAKEFLAGS= sam build --config-env "$$ENV"

deploy: build ## Deploy to AWS, asking before it changes anything: make deploy ENV=staging
	@env -u AWS_ENDPOINT_URL sam deploy --config-env "$$ENV" $(if $(filter default,$(value ENV)),--guided)

##@ The rest

clean: ## Stop the emulator; remove the environments and everything that was built
	@[ ! -x $(PY) ] || $(PY) -m devtools.local.stop || true
	rm -rf .venv .venv-emulator .venv-localstripe .venv-security .venv-tools .aws-sam .local .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find functions layers devtools tests -name __pycache__ -prune -exec rm -rf {} +

help: ## List what there is
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup runtime lock run order trace logs token carrier redrive rebuild-view replay compare sold dashboard balance audit audit-proof flags stop invoke bench test unit browser providers faults integration check format format-check lint \
  types imports template states security github generated contracts-check contracts openapi diagram build deploy clean help \
  .venv .venv-emulator .venv-localstripe .venv-security .venv-tools
