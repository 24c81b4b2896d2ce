# The book's commands; `make help` lists them.  They need Python 3.11 or newer and git, and the network once.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PROFILE := laptop
ROUNDS := 20
export VENV PYTHON

.PHONY: help book test lab train train-all execute bench soak clean

help: ## this list
	@echo "usage: make COMMAND"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done
	@echo "  Every command makes .venv first if it is missing.  VQDIFF_DATA=/folder says where data lies or goes."

$(VENV)/.installed: pyproject.toml constraints.txt scripts/venv.sh
	@sh scripts/venv.sh

$(VENV)/.peers: pyproject.toml constraints.txt scripts/venv.sh
	@sh scripts/venv.sh peers

book: $(VENV)/.installed ## run the tour on this machine, then make the book's pages in _docs/
	@$(BIN)/python scripts/book.py

test: $(VENV)/.installed ## check the notebooks and the package: export, style, every chapter in small, pytest
	@$(BIN)/python scripts/test.py

lab: $(VENV)/.installed ## open the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=nbs

train: $(VENV)/.installed ## make train NAME=mnist-vqvae [PROFILE=gpu]: train one model and write its weights and card
	@test -n "$(NAME)" || { echo "which model? make train NAME=..., one of:"; $(BIN)/vqdiff list; exit 2; }
	VQDIFF_PROFILE=$(PROFILE) $(BIN)/vqdiff train $(NAME) --ship

train-all: $(VENV)/.installed ## train every model of the book (resumes where it was stopped; takes hours)
	@for name in $$($(BIN)/python -c 'from vqdiff_edu.registry import training_order; print(*training_order())'); do \
	    $(MAKE) --no-print-directory train NAME=$$name || exit 1; \
	done

execute: $(VENV)/.installed ## make execute [CHAPTER=02_data]: run chapters and store what they print and draw
	$(BIN)/python scripts/execute.py --profile $(PROFILE) $(CHAPTER)

bench: $(VENV)/.peers ## measure speed side by side with other libraries
	$(BIN)/python -m benchmarks

soak: $(VENV)/.installed ## the unit and property tests again and again, ROUNDS=20 times with other random numbers
	@for round in $$(seq $(ROUNDS)); do \
	    echo "---- round $$round of $(ROUNDS)"; \
	    OMP_NUM_THREADS=1 VQDIFF_PROFILE=smoke $(BIN)/python -m pytest -q -n 2 tests/unit tests/property --seed $$round --hypothesis-seed=random || exit 1; \
	done

clean: ## remove what the commands made, but for .venv and the data
	rm -rf _docs _proc build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
