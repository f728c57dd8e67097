# The portal's commands. They need Python 3.11 or newer, and put everything else into .venv.

PYTHON ?= python3
# Processes that run the tests.
JOBS ?= 2
# “make serve AWS=1” installs what sending through AWS End User Messaging needs as well.
AWS ?=

VENV := .venv
PY := $(VENV)/bin/python
UV := $(PY) -m uv
UV_VERSION := 0.13.9
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11
RUN := $(VENV)/.run$(if $(AWS),-aws)
# What the settings ask for, when code is looked at and nothing runs. No server has that address.
LOOKING := SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	DATABASE_URL=postgres://nobody@//nonexistent/nothing
CHROMIUM := { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
ROOT_ON_DEBIAN := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
APT_INSTALL := apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo serve stop test lint lock clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s%s\n", $$1, $$2}' Makefile

demo: $(RUN) ## a demo company on http://127.0.0.1:8000, with a database of its own
	@exec $(PY) manage.py demo

# Whichever of the two ends first, the other is stopped too; so does Ctrl-C, and SIGTERM to make.
serve: $(RUN) ## the portal as in production (set SECRET_KEY, and DATABASE_URL), with its worker
	$(PY) manage.py migrate --noinput
	$(PY) manage.py collectstatic --noinput
	@$(PY) manage.py work & worker=$$!; \
	$(PY) -m gunicorn --config compliance/gunicorn.conf.py compliance.wsgi & web=$$!; \
	asked=; trap 'asked=yes' INT TERM HUP; \
	while [ -z "$$asked" ] && kill -0 $$worker 2>/dev/null && kill -0 $$web 2>/dev/null; do sleep 0.5; done; \
	[ -n "$$asked" ] || echo "The worker or the web server has ended, so the other one is stopped." >&2; \
	kill -TERM $$worker $$web 2>/dev/null; wait $$worker; wait $$web; [ -n "$$asked" ]

stop: $(RUN) ## stop the embedded database (its data stay)
	@$(PY) -m compliance.database stop

test: $(VENV)/.dev ## run all tests
	@$(CHROMIUM) || { $(ROOT_ON_DEBIAN) && $(APT_INSTALL) chromium; } || true
	@status=0; $(PY) -m pytest -n $(JOBS) --dist worksteal || status=$$?; \
	$(CHROMIUM) || echo "No Chromium on this machine: the browser tests were skipped."; \
	exit $$status

lint: $(VENV)/.dev ## style, types, missing migrations, deployment checks
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	@echo mypy; $(LOOKING) $(PY) -m mypy
	@echo makemigrations --check; $(LOOKING) $(PY) -W ignore:Got:RuntimeWarning manage.py makemigrations --check --dry-run
	@echo check --deploy; $(LOOKING) $(PY) manage.py check --deploy --fail-level WARNING

lock: $(VENV)/.made ## write requirements/ anew, with the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade pyproject.toml -o requirements/run.txt
	$(COMPILE) --upgrade pyproject.toml --extra aws -c requirements/run.txt -o requirements/aws.txt
	$(COMPILE) --upgrade pyproject.toml --extra aws --group test --group oracles --group lint \
		-c requirements/aws.txt -o requirements/dev.txt

clean: ## remove .venv and caches; var/ with the embedded database stays
	@if [ -x $(PY) ]; then $(PY) -m compliance.database stop || true; fi
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed. Is it elsewhere? make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(ROOT_ON_DEBIAN) && $(APT_INSTALL) python3-venv; } || \
	{ echo "$(PYTHON) cannot make a venv. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# The tests' packages include those for running, so what was made for them serves all.
$(VENV)/.dev: $(VENV)/.made requirements/run.txt requirements/aws.txt requirements/dev.txt
	$(UV) pip sync --quiet --require-hashes --python $(PY) requirements/dev.txt
	@touch $(VENV)/.run $(VENV)/.run-aws $@

$(VENV)/.run: $(VENV)/.made requirements/run.txt
	@rm -f $(VENV)/.dev $(VENV)/.run-aws
	$(UV) pip sync --quiet --require-hashes --python $(PY) requirements/run.txt
	@touch $@

$(VENV)/.run-aws: $(VENV)/.made requirements/aws.txt
	@rm -f $(VENV)/.dev
	$(UV) pip sync --quiet --require-hashes --python $(PY) requirements/aws.txt
	@touch $(VENV)/.run $@
