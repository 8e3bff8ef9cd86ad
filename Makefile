# Every target makes the virtual environment when it is missing. Without make (Windows): README.md.
VENV ?= .venv
PYTHON ?= python3
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install assignment reference test test-slow check pythons lint format benchmark docs handout report clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	@# of a newer pip than Python 3.10's, which looks for hours for versions that go together
	$(PYTHON) -m venv --upgrade-deps $(VENV)
	@echo "Installing into $(VENV), once: one to five minutes, and 2.5 GB ..."
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[atari,box2d,dev,data,docs,labelling,mujoco,tracking,tune]'
	@# where the extra mujoco can't bring it: pyproject.toml says why
	$(RUN) -m pip install --quiet --constraint constraints.txt --no-deps dm_control
	@touch $@

install: $(INSTALLED) ## all that the other targets and `prefloop` need, into .venv
	@echo "Installed; now: source $(VENV)/bin/activate"

assignment: $(INSTALLED) ## Parts 1 to 3 and the evaluation, with seed 0
	$(RUN) -m course.assignment

reference: $(INSTALLED) ## write course/reference/ again, which the grader holds submissions against
	$(RUN) -m course.assignment --directory course/reference

test: $(INSTALLED) ## the fast tests, on all cores
	@# bytecode is kept, whatever the shell says: hundreds of processes would compile all of it anew
	PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -n auto --dist worksteal --durations 25

test-slow: $(INSTALLED) ## the tests that learn for minutes
	$(RUN) -m pytest -m slow

lint: $(INSTALLED) docs
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

pythons: $(INSTALLED) ## compile and parse every flag on each Python from 3.10 to 3.14 that is here
	$(RUN) tests/pythons.py

check: lint test ## format, lint, types and the fast tests

format: $(INSTALLED) ## bring all files into the format that `check` asks for
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

benchmark: $(INSTALLED) ## measure the figures in docs/results.md again
	$(RUN) benchmarks/course_learning.py
	$(RUN) benchmarks/course_speed.py
	$(RUN) benchmarks/grading_class.py
	$(RUN) benchmarks/rl_rlhf_dpo.py --env CartPole-v0
	$(RUN) benchmarks/rl_rlhf_dpo.py --env Acrobot-v1
	$(RUN) benchmarks/pref_ppo_pendulum.py
	$(RUN) benchmarks/held_out_split.py
	$(RUN) benchmarks/interval_coverage.py
	$(RUN) benchmarks/labelling_teaching.py
	$(RUN) benchmarks/labelling_speed.py
	$(RUN) benchmarks/labelling_load.py
	$(RUN) benchmarks/clip_speed.py
	$(RUN) benchmarks/sweep_speed.py naps
	$(RUN) benchmarks/sweep_speed.py cartpole
	$(RUN) benchmarks/sweep_speed.py metadata

# not --quiet: what is silenced is not counted, so --strict would stop at nothing
docs: $(INSTALLED) ## the pages as a site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@echo "Wrote site/: open site/index.html"

handout: $(INSTALLED) ## write the students' version to handout/
	$(RUN) -m course.handout

report: $(INSTALLED) ## write the report's figures and tables to report/
	$(RUN) -m course.report

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
