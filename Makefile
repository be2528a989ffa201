# `make` lists the targets. `make test` is what continuous integration runs.

PYTHON ?= $(if $(shell python3.11 --version 2>/dev/null),python3.11,python3)
# Without a GPU, name PyTorch's CPU wheel index to save some gigabytes: make install TORCH_INDEX=<url>
TORCH_INDEX ?=

# What `make serve` serves: the folder of a student's export.
MODEL ?= $(firstword $(shell ls -td runs/*/export 2>/dev/null))

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := .venv/.installed

# One thread for each process: several workers share the cores, and more threads than cores crawl.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install lint type test demo compare sweep serve clean lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-9s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv from requirements.txt and install this package into it

$(INSTALLED): requirements.txt pyproject.toml
	@command -v nvidia-smi >/dev/null || [ -n "$(TORCH_INDEX)" ] || \
		echo "No GPU found: TORCH_INDEX can name PyTorch's CPU wheels, see the top of the Makefile."
	$(PYTHON) -m venv .venv
	$(PIP) install --requirement requirements.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(PIP) install --no-deps --editable .
	@touch $@

lint: install ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: install ## Check types
	$(BIN)/mypy --strict ladd_ray serve tune

test: lint type ## Check style and types, then run every test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone

demo: install ## Distill the embedded sticker world on this machine
	$(BIN)/python jobs/distill.py stickers

compare: install ## Train LADD, ADD and LCM on equal time and check the paper's claims, about 90 minutes
	$(BIN)/python jobs/compare.py

sweep: install ## Search the renoising noise of the embedded model in 8 short trainings, and write the report
	RAY_worker_niceness=0 $(BIN)/python tune/sweep.py stickers --space noise --samples 8 --score-every 20 \
		--base run.steps 80 run.num_workers 0 run.engine local milestones.num_images 64 milestones.num_inference_steps 1

serve: install ## Serve MODEL, by default the newest runs/*/export, at http://127.0.0.1:8000 as OpenAI's Images API
	@$(if $(MODEL),:,echo "No student in runs/: serving the embedded one.")
	PYTHONPATH=. RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve.proxy:proxy_middlewares \
		$(BIN)/serve run serve.app:build $(if $(MODEL),model=$(MODEL))

clean: ## Remove caches and build products; .venv and runs stay
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find ladd_ray jobs serve tune tests -type d -name __pycache__ -prune -exec rm -rf {} +

lock: ## Resolve pyproject.toml anew into requirements.txt
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" && \
		"$$folder/bin/pip" install '.[artwork,dev,page]' && \
		{ sed '/^#/!d' requirements.txt; "$$folder/bin/pip" freeze --all --exclude pip --exclude ladd-ray \
			| sed -E -e 's/^(torch==[0-9.]+)\+.*/\1/' -e '/^(nvidia-|cuda-|triton)/d'; } > "$$folder/lock" && \
		cp "$$folder/lock" requirements.txt
