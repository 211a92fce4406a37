# Shared by the builds that `sam build` runs: installs wheels for the architecture that is built, and compiles them.
#
# SAM tells a makefile build nothing of the architecture. The template therefore has
# `WorkingDirectory: !Sub layers/platforms/${Architecture}`, and the file included here says which wheels belong to it.
# Lambda's file system is read-only and its timestamps are all 1980, so only .pyc files that are never checked against
# their source are used there. A fixed hash seed and one process make the same bytes of the same source, and nothing is
# uploaded twice.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.SILENT:
root := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))..)
python := $(shell PATH="$(root)/.venv/bin:$$PATH" "$(root)/devtools/find-python")
uv := $(firstword $(wildcard $(root)/.venv-tools/bin/uv) $(shell command -v uv 2>/dev/null))

ifeq ($(python),)
$(error nothing was built)
endif

# The runtime has these, with their models: shipping them again would cost 45 MB and their import time.
IN_RUNTIME := boto3 botocore s3transfer dateutil urllib3 six.py jmespath

# $(call install,lock,folder): the locked wheels in the folder, without what the runtime has and nobody imports.
define install
$(if $(PLATFORM),,$(error the architecture is unknown: the template lacks WorkingDirectory in this resource's Metadata))
if [ -n "$(uv)" ]; then \
  "$(uv)" pip install --quiet --no-config --require-hashes --no-deps --only-binary :all: --link-mode copy \
    --python "$(python)" --python-platform $(PLATFORM)-manylinux2014 --target "$(2)" -r "$(1)"; \
else \
  "$(python)" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: --no-compile \
    --python-version 3.13 --platform manylinux2014_$(PLATFORM) --target "$(2)" -r "$(1)"; \
fi
cd "$(2)" && rm -rf $(IN_RUNTIME) bin *.dist-info .lock
find "$(2)" -depth \( -name tests -o -name __pycache__ -o -name '*.pyi' -o -name '*.c' -o -name '*.h' \) -exec rm -rf {} +
endef

# $(call compile,folder,path in Lambda)
compile = env -u PYTHONPYCACHEPREFIX -u PYTHONOPTIMIZE PYTHONHASHSEED=0 "$(python)" -m compileall -q --invalidation-mode unchecked-hash -s "$(1)" -p "$(2)" "$(1)"

# $(call package,source,folder): one package of ours, its Python files and what they read.
define package
mkdir -p "$(2)"
cp -R "$(1)" "$(2)/"
find "$(2)" -depth \( -name __pycache__ -o -name requirements.txt -o -name py.typed \) -exec rm -rf {} +
endef
