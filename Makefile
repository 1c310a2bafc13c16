# Everything a newcomer needs: `make demo`, `make serve`, `make test`. Each sets up .venv first.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo serve test proof bench gpu check format protos clean

demo: $(VENV)/.ready
	$(BIN)/python examples/demo.py

serve: $(VENV)/.ready
	$(BIN)/trine serve

test: $(VENV)/.ready
	$(BIN)/python -m pytest -m "not proof and not gpu"

proof: $(VENV)/.ready
	$(BIN)/python -m pytest -m "proof and not gpu"

# Against CTranslate2, PyTorch, OpenVINO and others, full-size shapes with random weights; about 35 minutes. See bench/README.md.
bench: $(VENV)/.ready
	$(BIN)/python -m bench.generation
	$(BIN)/python -m bench.encoders
	$(BIN)/python -m bench.identity

gpu: $(VENV)/.ready
	$(BIN)/python -m pytest -m gpu

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stubs in service/trine/v1 are committed; a test compares them with what this target makes.
protos: $(VENV)/.ready
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/python -m grpc_tools.protoc -I protos --python_out=service --grpc_python_out=service \
	  --mypy_out=quiet:service --mypy_grpc_out=quiet:service protos/trine/v1/*.proto

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache
