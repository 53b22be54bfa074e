# Two commands matter: `make demo` shows the main job, `make test` proves it.
# Root's weaker sandbox runs scripts as another user, who cannot reach a Python in a closed home.
AS_NOBODY = su nobody -s /bin/sh -c
PYTHON ?= $(shell if test "$$(id -u)" != 0 || $(AS_NOBODY) "$$(command -v python3) -c ''"; then echo python3; \
  elif $(AS_NOBODY) "/usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))'"; \
  then echo /usr/bin/python3; else echo python3; fi 2>/dev/null)
BIN := .venv/bin

.PHONY: install demo format check test test-slow test-gpu

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@command -v bwrap >/dev/null || { apt-get update -qq && apt-get install -y -qq bubblewrap; } || \
	  { echo "bubblewrap is missing: run 'sudo apt-get install bubblewrap', then 'make install' again"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[trainer,audit,dev]'
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true # pip uses one core
	@touch $@

demo: install
	@$(BIN)/pgolf-train data build --corpus jargon --out data/demo
	@$(BIN)/pgolf-train demo --data data/demo --seeds 42,314,1337 --out data/demo_submission --overwrite
	@rm -rf data/demo_run
	@$(BIN)/pgolf-verify data/demo_submission --data data/demo --num-seeds 4 --out data/demo_run

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two at a time, a thread each, as CI has two cores; a file's tests stay together, long files first.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m slow --timeout 1800

test-gpu:
	pytest -q -m gpu
