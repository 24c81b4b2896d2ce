# The book's commands; `make help` lists them.  They need Python 3.11 or newer and git, and the network once.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PROFILE := laptop
ROUNDS := 20
export VENV PYTHON

.PHONY: help book read test lab train train-all execute cells graph bench gpu mutants nbdev3 soak clean

help: ## this list
	@echo "usage: make COMMAND"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done
	@echo "  Every command makes .venv first if it is missing.  VQDIFF_DATA=/folder says where data lies or goes."

$(VENV)/.installed: pyproject.toml constraints.txt scripts/venv.sh
	@sh scripts/venv.sh

$(VENV)/.peers: pyproject.toml constraints.txt scripts/venv.sh
	@sh scripts/venv.sh peers

book: $(VENV)/.installed ## run the tour on this machine, then make the book in _docs/: pages, EPUB, PDF
	@$(BIN)/python scripts/book.py

read: ## open the pages that `make book` made, served on this machine alone
	@$(BIN)/python scripts/live.py --read

test: $(VENV)/.installed ## check everything: export, style, every chapter in small, pytest (FAST=1: style, unit and faults alone)
	@$(BIN)/python scripts/test.py $(if $(FAST),--fast)

lab: $(VENV)/.installed ## open the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=nbs

train: $(VENV)/.installed ## make train NAME=mnist-vqvae [PROFILE=gpu]: train one model and write its weights and card
	@test -n "$(NAME)" || { echo "which model? make train NAME=..., one of:"; $(BIN)/vqdiff list; exit 2; }
	VQDIFF_PROFILE=$(PROFILE) $(BIN)/vqdiff train $(NAME) --ship

train-all: $(VENV)/.installed ## train every model of the book (resumes where it was stopped; takes hours)
	@for name in $$($(BIN)/python -c 'from vqdiff_edu.registry import training_order; print(*training_order())'); do \
	    $(MAKE) --no-print-directory train NAME=$$name || exit 1; \
	done

execute: $(VENV)/.installed ## make execute [CHAPTER=02_data] [STALE=1]: run chapters and store their outputs (STALE=1: pass over what is fresh)
	$(BIN)/python scripts/execute.py --profile $(PROFILE) $(if $(STALE),--stale) $(CHAPTER)

cells: $(VENV)/.installed ## write what a script keeps in the notebooks: install cells, numbers of equations, solutions
	$(BIN)/python scripts/cells.py && $(BIN)/nbdev_export

graph: $(VENV)/.installed ## draw the preface's graph anew from the chapters' needs
	@$(BIN)/python scripts/graph.py

bench: $(VENV)/.peers ## measure speed side by side with other libraries
	$(BIN)/python -m benchmarks

gpu: $(VENV)/.installed ## the tests that need CUDA, one after another
	$(BIN)/python -m pytest --no-header tests/gpu

mutants: $(VENV)/.installed ## plant known bugs one by one, and see that a test fails for each
	$(BIN)/python scripts/mutants.py $(ARGS)

nbdev3: $(VENV)/.installed ## does nbdev 3 export the same package? (in an environment of its own)
	@$(BIN)/python scripts/nbdev3.py

soak: $(VENV)/.installed ## the unit and property tests again and again, ROUNDS=20 times with other random numbers
	@for round in $$(seq $(ROUNDS)); do \
	    echo "---- round $$round of $(ROUNDS)"; \
	    OMP_NUM_THREADS=1 VQDIFF_PROFILE=smoke $(BIN)/python -m pytest -q -n 2 tests/unit tests/property --seed $$round --hypothesis-seed=random || exit 1; \
	done

clean: ## remove what the commands made, but for .venv and the data
	rm -rf _docs _proc build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
