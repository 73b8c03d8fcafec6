# Every target sets up what it needs in .venv, from python >= 3.11, gcc and make alone.
#   make demo   the main job: a pipeline of separate programs over the standard library's sources
#   make test   the tests, against the installed package (make test ARGS="-k ring")
#   make test-programs  beside the programs and libraries of others that use pools and queues
#   make verify the reliability programme: explorer, kill matrix, sanitizers, fuzzing (make soak: more of it)
#   make test-windows  the tests under Wine, against a wheel that a cross compiler has built (Debian, Ubuntu; amd64)
#   make lint   ruff, mypy --strict, clang-format, codespell
#   make bench  the benchmarks, with their rivals in the same run
# PYTHON=python3.12 chooses the interpreter for a new .venv; `make clean` removes everything that was made.

# The first of these that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check --quiet
ARGS   ?=

# The directory shmring/ here must not shadow the installed package.
export PYTHONSAFEPATH := 1

# What the installed package is made from: everything under shmring/ and bench/ but compiled leftovers.
SOURCES := pyproject.toml meson.build \
	$(shell find shmring bench -type f ! -path '*/__pycache__/*' ! -name '*.so' ! -name '*.o')

.DELETE_ON_ERROR:
.PHONY: demo test test-programs test-windows verify verify-core verify-processes soak lint bench bench-smoke clean

demo: $(VENV)/installed
	$(VENV)/bin/shmring demo $(ARGS)

test: $(VENV)/installed $(VENV)/group-test
	$(PY) -m pytest $(ARGS)

# Beside programs and libraries of others, which take a while to install: notebooks, frozen programs, servers.
test-programs: $(VENV)/installed $(VENV)/group-test $(VENV)/group-programs
	$(PY) -m pytest -m programs $(ARGS)

# WINE is where the Windows Python lives; SHMRING_WINE tells the tests. Its server is stopped in the end, and no other.
WINE := $(CURDIR)/.wine
test-windows: export SHMRING_WINE := $(WINE)
test-windows: $(VENV)/installed $(VENV)/group-test $(VENV)/group-wine
	bash tests/wine/setup.sh $(WINE) $(PY)
	$(PY) tests/wine/build_wheel.py $(WINE) $(WINE)/wheel > $(WINE)/build.log 2>&1 || { tail -50 $(WINE)/build.log; exit 1; }
	bash -c 'source $(WINE)/env.sh && trap "wineserver -k" EXIT && \
		winpython -m pip install -q --no-index --no-deps --no-warn-script-location --force-reinstall $(WINE)/wheel/*.whl && \
		$(PY) tests/wine/run.py $(WINE) $(ARGS) && $(PY) -m pytest -q tests/wine/from_outside.py'

# In two processes side by side: parts of it wait, or keep one core busy.
VERIFY := $(PY) -m pytest -m verify --durations=5
verify: $(VENV)/installed $(VENV)/group-test $(VENV)/group-verify
	bash tests/verify-tools.sh
	$(if $(ARGS),$(VERIFY) $(ARGS),$(MAKE) --no-print-directory -j2 --output-sync=target verify-core verify-processes)
verify-core: $(VENV)/installed
	$(VERIFY) tests/core
verify-processes: $(VENV)/installed
	$(VERIFY) --ignore=tests/core

soak: export SHMRING_EFFORT ?= 3
soak: verify

# What is written for Windows, or runs there too; the rest is refused there.
ON_WINDOWS := $(addprefix shmring/,segment/windows segment/growing.py names admin attachment.py ring.py topic.py \
	latest.py queues workers pipeline cli)
lint: $(VENV)/installed $(VENV)/group-test $(VENV)/group-lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --platform win32 --follow-imports=silent $(ON_WINDOWS)
	find shmring bench tests -name '*.[ch]' | xargs $(VENV)/bin/clang-format --dry-run -Werror
	$(VENV)/bin/codespell

bench: $(VENV)/installed $(VENV)/extra-bench
	$(VENV)/bin/shmring bench all --out build/bench $(ARGS)

bench-smoke: $(VENV)/installed $(VENV)/extra-bench
	$(VENV)/bin/shmring bench all --smoke --out build/bench-smoke $(ARGS)

clean:
	rm -rf $(VENV) .wine build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find shmring tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} +

# Not editable: what is tested is what a user gets.
$(VENV)/installed: $(SOURCES) | $(PY)
	@$(PY) -c 'import pathlib, sys, sysconfig; h = pathlib.Path(sysconfig.get_path("include"), "Python.h"); \
		h.exists() or sys.exit(f"{h} is missing: install the Python headers (Debian, Ubuntu: python3-dev)")'
	$(PIP) install ".[cli]"
	@touch $@

# A dependency group or an extra of pyproject.toml; pip reads groups itself only since 25.1.
$(VENV)/group-%: pyproject.toml | $(PY)
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("$<", "rb"))["dependency-groups"]["$*"], sep="\n")' > $@
	$(PIP) install -r $@

$(VENV)/extra-%: pyproject.toml | $(PY)
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("$<", "rb"))["project"]["optional-dependencies"]["$*"], sep="\n")' > $@
	$(PIP) install -r $@

$(PY):
	@test -n "$(PYTHON)" || { \
		echo "shmring needs Python 3.11 or newer and found none; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
		"shmring needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment with pip in it:" \
		     "install its venv package (Debian, Ubuntu: python3-venv), or name another: make PYTHON=..." >&2; exit 1; }
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
