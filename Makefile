# The two commands of the README: `make demo` and `make test`. Everything they need goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
UV := 0.13.8

# Where torch's CPU build comes from: a folder of wheels if one is configured, else the CPU index that uv knows.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
TORCH := $(if $(UV_FIND_LINKS),,--torch-backend cpu)

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export DGLBACKEND := pytorch

.PHONY: demo test lint types docs results bench clean

# Characters with their names, pictures, properties and Morse code become a graph; a classifier is trained beside its
# controls; subgraphs are found by a text, a picture and a recording.
demo: .venv/demo.done
	rm -rf runs/demo
	$(BIN)/mmgraph run hamilton2017_sage_glyphs --runs 1 --out runs/demo
	$(BIN)/mmgraph search runs/demo --id U+0041 -k 5
	$(BIN)/mmgraph build glyphs --with task=all -o runs/demo/glyphs
	$(BIN)/mmgraph describe runs/demo/glyphs --html runs/demo/glyphs.html
	$(BIN)/python datasets/glyphs/queries.py runs/demo
	$(BIN)/mmgraph search runs/demo/glyphs --text "greek letter omega with accent" -k 5
	$(BIN)/mmgraph search runs/demo/glyphs --image runs/demo/letter.png -k 5
	$(BIN)/mmgraph search runs/demo/glyphs --audio runs/demo/letter.wav -k 5
	@echo "The report is $(CURDIR)/runs/demo/report.html, the graph is shown in glyphs.html beside it."

test: .venv/dev.done lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev.done
	$(BIN)/mypy -p mmgraph

# The site, in site/: pages, the API from docstrings, notebooks. Warnings are errors.
docs: .venv/dev.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Every recipe, in full: docs/results.json and docs/results.md. About half an hour on one core.
results: .venv/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/results.py

# Speed beside the peers: docs/benchmarks.json and docs/benchmarks.md.
bench: .venv/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench.py

clean:
	rm -rf .venv runs dist build site

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mmgraph needs Python 3.11 or newer, got " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv .venv

.venv/demo.done: pyproject.toml constraints.txt | .venv/bin/python
	$(call install,.[audio])
	@touch $@

.venv/dev.done: pyproject.toml constraints.txt | .venv/bin/python
	$(call install,.[dev])
	@touch $@ .venv/demo.done

# uv is three times as fast as pip; where it does not work, pip does. Bytecode is compiled once, here: without it each
# start takes 15 seconds. Never torchvision or torchaudio: their mere presence breaks transformers and Lightning.
define install
	$(BIN)/python -m pip install -q uv==$(UV) \
	  && $(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode $(TORCH) -c constraints.txt -e "$(1)" \
	  || env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pip install -q -c constraints.txt -e "$(1)"
	@$(BIN)/python -c 'import importlib.util as u; assert not u.find_spec("torchvision"), "torchvision must not be installed"'
endef
