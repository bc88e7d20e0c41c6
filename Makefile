# `make run` and `make test` are the two commands of the README. Each installs what is missing and says what it skips.

CARGO      ?= cargo
DENY       := 0.20.2
# The release-like profile of end-to-end tests (Cargo.toml).
QUICK      := --profile quick
BIN        := target/release/pelton
QUICK_BIN  := $(CURDIR)/target/quick/pelton

.PHONY: run test lint deny unit alone doc e2e interop soak bench fuzz clean help

help: ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "%-8s %s\n", $$1, $$2}'

run: ## Build Pelton and start the quickstart with a subscriber beside it
	$(CARGO) build --release --locked -p pelton-cli
	@./examples/quickstart/run.sh $(BIN)

test: lint deny alone unit doc e2e interop ## Everything that CI checks

lint: ## Formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

deny: ## Licences, sources and banned crates; advisories where the database can be reached
	@./tests/tools/deny.sh $(DENY)

alone: ## Each crate by itself, so that feature unification hides nothing; the fuzz targets, which nothing else builds
	@./tests/tools/alone.sh

unit: ## Unit, table, property and simulation tests
	@. tests/tools/testdata.sh && PELTON_SEEDS=$${PELTON_SEEDS:-10000} $(CARGO) test $(QUICK) --workspace --exclude pelton-tests --locked

doc: ## Examples in the documentation comments
	$(CARGO) test --doc $(QUICK) --workspace --locked

e2e: ## The real binary over sockets: tidy, conformance, end to end, faults, a real Kafka
	$(CARGO) build $(QUICK) --locked -p pelton-cli
	@. tests/tools/testdata.sh && . tests/tools/kafka.sh && PELTON_BIN=$(QUICK_BIN) $(CARGO) test $(QUICK) --locked -p pelton-tests

interop: ## The SDKs of other languages against the real binary
	@PELTON_BIN=$(QUICK_BIN) ./tests/interop/run.sh

soak: ## The long form: more crashes and seeds; results go to docs/reliability.md
	$(CARGO) build $(QUICK) --locked -p pelton-cli
	@./tests/tools/soak.sh $(QUICK_BIN)

bench: ## CPU time per event and ratios to baselines; results go to docs/benchmarks.md
	$(CARGO) build --release --locked -p pelton-cli
	@. tests/tools/kafka.sh && PELTON_BIN=$(CURDIR)/$(BIN) $(CARGO) run --release --locked -p pelton-benches

fuzz: ## Fuzz every parser of outside bytes for a minute each
	@./fuzz/run.sh

clean: ## Remove what was built
	$(CARGO) clean
