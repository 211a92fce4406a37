# The order pipeline. `make` lists the targets.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

# No variable of the command line reaches a shell as code: devtools/options.py reads values from the environment, under the names
# in MAKE_VARIABLES, so recipes do not name them. Variables that recipes name are `override`. Values are not expanded.
override GIVEN := $(strip $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name))))
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name)))$(eval export $(name)))

override BIN := .venv/bin
override define newline


endef
override UV := .venv-tools/bin/uv
override PY := $(BIN)/python
BACKEND ?= embedded
# An environment of samconfig.toml.
ENV ?= default
export BACKEND ENV
export SAM_CLI_TELEMETRY := 0
# `sam build` looks for python3.13 on PATH.
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.venv-tools/bin:$(PATH)

# The commands of devtools/commands.py; devtools/options.py checks their options.
override COMMANDS := run up shop docs order carrier token user verify-sender catalog doctor smoke stop invoke trace logs dashboard sales trial-balance redrive flags \
  drill replay restore rebuild rebuild-view erase rollback-triggers check-canary check-sender \
  audit audit-proof bench
override OFFLINE_COMMANDS := new remove idle-cost contracts openapi diagram observability
# They run the functions on AWS in memory, which is in tests/.
override TEST_COMMANDS := compare compat load cost life
override OLD_COMMANDS := sold balance
override OLD_NAMES := $(OLD_COMMANDS) states faults
# GNU make 3.81, which macOS has, takes one modifier on the line of a target.
override MAKE_VARIABLES :=
export MAKE_VARIABLES
$(COMMANDS) $(OFFLINE_COMMANDS) $(TEST_COMMANDS) help: override MAKE_VARIABLES := $(GIVEN)

# `make new consumer` passes the word after new on as KIND.
ifeq ($(firstword $(MAKECMDGOALS)),new)
override KIND := $(wordlist 2,9,$(MAKECMDGOALS))
export KIND
new: override MAKE_VARIABLES := $(GIVEN) KIND
$(KIND): new
	@:
.PHONY: $(KIND)
endif

# Of the other targets, these take options.
override TAKES_test := BACKEND ENDPOINT PORT STACK
override TAKES_integration := $(TAKES_test)
override TAKES_browser := CHROMIUM
override TAKES_build := ENV
override TAKES_deploy := ENV
override TAKES_help := GROUP COMMAND
override GOALS := $(or $(MAKECMDGOALS),help)

# .venv has the level run, reports or dev, each a superset of the one before. A target raises it to the level that it needs; none lowers it.
override REPORTS := dashboard audit audit-proof
override RUN := $(filter-out $(REPORTS),$(COMMANDS)) $(OLD_COMMANDS) runtime build deploy .venv
override NEEDED := $(or $(if $(filter-out $(RUN) $(REPORTS),$(GOALS)),dev),$(if $(filter $(REPORTS),$(GOALS)),reports),run)
# The environment of an earlier version, whose lock is not named, has them all.
override PRESENT := $(patsubst %,$(or $(filter run reports dev,$(basename $(notdir $(lastword $(shell cat .venv/.lock 2>/dev/null))))),dev),$(wildcard .venv/.lock))
override LEVEL := $(lastword $(foreach name,run reports dev,$(filter $(name),$(NEEDED) $(PRESENT))))
# README.md states the same sizes.
override SIZE_run := 1.4 GB of disk and 2.2 GB of memory
override SIZE_reports := 1.5 GB of disk and 2.2 GB of memory
override SIZE_dev := 2.5 GB of disk and 2.2 GB of memory
ifeq ($(MAKELEVEL)$(filter $(COMMANDS) $(OFFLINE_COMMANDS) $(OLD_NAMES) $(TEST_COMMANDS),$(GOALS)),0)
override TAKES := $(foreach goal,$(GOALS),$(TAKES_$(goal)))
override UNKNOWN := $(filter-out PYTHON $(TAKES),$(GIVEN))
ifneq ($(UNKNOWN),)
$(error unknown option $(UNKNOWN): make $(GOALS) takes $(or $(TAKES),no options))
endif
endif

# An environment or backend that does not exist is refused before anything is installed, built or tested.
override ENVIRONMENTS := $(filter-out local localstack,$(shell sed -n 's/^\[\([a-z0-9]*\)\.deploy\.parameters\]$$/\1/p' samconfig.toml))
ifneq ($(filter build deploy,$(GOALS)),)
ifeq ($(and $(filter 1,$(words $(value ENV))),$(filter $(value ENV),$(ENVIRONMENTS))),)
$(error ENV must be one of $(ENVIRONMENTS) (samconfig.toml), not '$(strip $(subst $(newline), ,$(value ENV)))')
endif
endif

override BACKENDS := embedded localstack aws
ifneq ($(filter test integration,$(GOALS)),)
ifeq ($(and $(filter 1,$(words $(value BACKEND))),$(filter $(value BACKEND),$(BACKENDS))),)
$(error BACKEND must be one of $(BACKENDS), not '$(strip $(subst $(newline), ,$(value BACKEND)))')
endif
endif

##@ Set up

setup: .venv .venv-emulator .venv-localstripe .venv-security ## Create the environments of all commands and tests, where they are not current

runtime: .venv .venv-emulator

# $(call sync,lock,options): installs the packages of the lock in the environment $@, unless it has them.
override sum = $$(cksum $(1))
override define sync
@[ "$$(cat $@/.lock 2>/dev/null)" = "$(call sum,$(1))" ] || { \
  echo "setup  $@"; \
  { [ -x $@/bin/python ] || { python=$$(devtools/find-python --install) && $(UV) venv --quiet --no-config --python "$$python" $@; }; } && \
  $(UV) pip sync --quiet --no-config --require-hashes --compile-bytecode --python $@/bin/python $(1) && \
  $(if $(2),$(UV) pip install --quiet --no-config --no-deps --python $@/bin/python $(2) &&) \
  echo "$(call sum,$(1))" > $@/.lock; }
endef

.venv: .venv-tools
	$(call sync,requirements/$(LEVEL).txt,--editable .)

.venv-emulator: .venv-tools
	$(call sync,requirements/emulator.txt)

.venv-localstripe: .venv-tools
	$(call sync,requirements/localstripe.txt)

.venv-security: .venv-tools
	$(call sync,requirements/security.txt)

.venv-tools: size
	@[ "$$(cat $@/.lock 2>/dev/null)" = "$(call sum,requirements/tools.txt)" ] || { \
	  echo "setup  $@" && python=$$(devtools/find-python --any) && "$$python" -m venv --clear $@ && \
	  $@/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt && \
	  echo "$(call sum,requirements/tools.txt)" > $@/.lock; }

# Prints the size of a level before it is installed.
size:
	@[ "$(PRESENT)" = "$(LEVEL)" ] || echo "setup  environments, build and running emulator take $(SIZE_$(LEVEL))"

# $(call compile-lock,group,options)
override compile-lock = $(UV) pip compile --quiet --no-config --upgrade --universal --python-version 3.13 --generate-hashes --no-header --no-annotate --group $(1) $(2) -o requirements/$(1).txt
override WITHOUT_LINTER := $(addprefix --no-emit-package ,cfn-lint sympy mpmath networkx)
# Lambda's runtime has these, with their models: shipping them again would cost 45 MB and their import time.
override WITHOUT_RUNTIME := $(addprefix --no-emit-package ,boto3 botocore s3transfer python-dateutil urllib3 six jmespath)
lock: .venv-tools ##+ Upgrade every lock in requirements/ to the newest versions
	$(call compile-lock,dev)
	@# `sam validate --lint` alone uses these, an eighth of a gigabyte.
	$(call compile-lock,run,-c requirements/dev.txt $(WITHOUT_LINTER))
	$(call compile-lock,reports,-c requirements/dev.txt $(WITHOUT_LINTER))
	@# Shipped packages have the tested versions.
	$(call compile-lock,layer,-c requirements/dev.txt $(WITHOUT_RUNTIME))
	$(call compile-lock,identity,-c requirements/dev.txt $(WITHOUT_RUNTIME))
	$(call compile-lock,payments,-c requirements/dev.txt $(WITHOUT_RUNTIME))
	$(call compile-lock,emulator)
	$(call compile-lock,localstripe)
	$(call compile-lock,security)
	$(call compile-lock,tools)

##@ Run locally
##@ Operate a stack

$(COMMANDS): runtime
	@$(PY) -m devtools $@

##@ Measure

.PHONY: $(TEST_COMMANDS)
$(TEST_COMMANDS): runtime
	@PYTHONPATH=functions $(PY) -m tests.$@

##@ Extend
##@ Contracts and documents

$(OFFLINE_COMMANDS): .venv
	@$(PY) -m devtools $@

##@ Tests

ifneq ($(filter localstack aws,$(value BACKEND)),)
test: integration
else
test: setup ## Run all checks and tests; on a stack: BACKEND=… STACK=… ENDPOINT=…
	@$(MAKE) check
	@$(MAKE) unit
	@$(MAKE) conformance
	@$(MAKE) browser
	@$(MAKE) providers
	@$(MAKE) test-faults
	@$(MAKE) test-extension
	@$(MAKE) integration
endif

override PYTEST := $(PY) -m pytest -q
unit: .venv ## Run unit and contract tests; no network
	@$(PYTEST) tests/unit tests/contract tests/conformance -m "not service"

conformance: runtime ##+ Test the in-memory AWS, the emulator and moto with the same operations
	@$(PYTEST) tests/conformance

browser: .venv ##+ Test the dashboard in a browser; needs a Chromium
	@$(PYTEST) tests/browser

providers: .venv .venv-localstripe ##+ Test payment providers: the sandbox, and Stripe's SDK against localstripe
	@$(PYTEST) tests/providers

test-faults: .venv ##+ Test an order while each of its AWS and provider calls fails in every way
	@$(PYTEST) tests/faults -n 2 --dist worksteal

test-extension: runtime ##+ Test a generated consumer, and the removal of all contexts that can be
	@$(PYTEST) tests/extension -m "not alone"

test-remove: .venv ##+ Test each removal by itself, and generated code; takes some minutes for each
	@$(PYTEST) tests/extension -m alone

integration: runtime ##+ Test orders over HTTP on a deployed stack
	@$(PYTEST) tests/integration

##@ Checks

override CHECKS := format-check lint types imports template lint-workflows security github packages generated contracts-check cost-check
check: setup ## Run all checks: format, lint, types, imports, template, security, contracts
	@$(MAKE) -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(CHECKS)

# $(call step,name,command): prints its name and time, and the output only when the command fails.
override define step
@start=$$(date +%s); if out=$$({ $(2); } 2>&1); then printf 'ok     %-12s %3ss\n' "$(1)" "$$(($$(date +%s) - start))"; \
else printf '%s\nFAILED %s\n' "$$out" "$(1)" >&2; exit 1; fi
endef

format: .venv ## Format the code
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix --select I

format-check: .venv
	$(call step,format,$(BIN)/ruff format --check --output-format concise)

lint: .venv ##+ Lint the code with Ruff
	$(call step,lint,$(BIN)/ruff check --output-format concise)

types: .venv ##+ Check types with Pyright, strict
	$(call step,types,$(BIN)/pyright --warnings)

imports: .venv ##+ Check which package imports which
	$(call step,imports,PYTHONPATH=functions:layers/powertools:. $(BIN)/lint-imports --no-cache)

template: .venv ##+ Lint the template with cfn-lint, as written and as SAM expands it
	$(call step,template,$(PY) -m devtools lint-template)

lint-workflows: .venv ##+ Lint the state machines: every state is reached, every transition has a target
	$(call step,workflows,$(PY) -m devtools lint-workflows)

security: .venv .venv-security ##+ Check the template with checkov, as written and as SAM expands it
	$(call step,security,$(PY) -m devtools lint-security)

# $(call schema,schema,files): validates the files against a schema of SchemaStore that comes with the tool.
override schema = .venv-security/bin/check-jsonschema --builtin-schema vendor.$(1) $(2)
github: .venv-security ##+ Validate GitHub's workflows, forms and Dependabot, and audit them with zizmor
	$(call step,github,$(call schema,github-workflows,.github/workflows/*.yml) && \
	  $(call schema,dependabot,.github/dependabot.yml) && $(call schema,github-issue-config,.github/ISSUE_TEMPLATE/config.yml) && \
	  $(call schema,github-issue-forms,.github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml) && \
	  .venv-security/bin/zizmor --quiet --offline --no-progress .github)

packages: .venv .venv-emulator .venv-localstripe .venv-security ##+ Check that the packages of each environment agree with each other
	$(call step,packages,for name in $^; do $(UV) pip check --no-config --python $$name/bin/python || exit 1; done)

generated: .venv ##+ Check that generated files are current
	$(call step,generated,$(PY) -m devtools openapi --check && $(PY) -m devtools diagram --check && $(PY) -m devtools observability --check)

contracts-check: .venv
	$(call step,contracts,$(PY) -m devtools contracts --check)

cost-check: .venv
	$(call step,cost,PYTHONPATH=functions $(PY) -m tests.cost --check)

##@ AWS

# SAM would see Python's caches as changed sources. The makefiles that `sam build` runs get no variables.
build: .venv ## Build for deployment: make build ENV=prod
	@find functions layers -name __pycache__ -prune -exec rm -rf {} +
	@MAKEFLAGS= sam build --config-env "$$ENV"

deploy: build ## Deploy to AWS after a confirmation: make deploy ENV=staging
	@env -u AWS_ENDPOINT_URL sam deploy --config-env "$$ENV"

##@ More

clean: ##+ Stop the emulator; remove the environments and all builds
	@[ ! -x $(PY) ] || $(PY) -m devtools stop || true
	rm -rf .venv .venv-emulator .venv-localstripe .venv-security .venv-tools .aws-sam .local .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find functions layers devtools tests -name __pycache__ -prune -exec rm -rf {} +

# They work before the environments exist, and on a Python older than that of the environments.
override HELP := python=$$(devtools/find-python 2>/dev/null || command -v python3 || devtools/find-python) && "$$python" -m devtools help
help: ## List the targets of daily work
	@$(HELP)

help-all: ## List all targets
	@$(HELP) --all

# The names of version 1.0.
sold: sales
balance: trial-balance
states: lint-workflows
faults: test-faults

.PHONY: $(COMMANDS) $(OFFLINE_COMMANDS) $(OLD_NAMES) $(CHECKS) setup size runtime lock load test unit conformance browser providers test-faults test-extension test-remove integration \
  check format contracts-check build deploy clean help help-all .venv .venv-emulator .venv-localstripe .venv-security .venv-tools
