# `make run` starts a registry, `make test` runs every test. Both install what they need first:
# scripts/setup uses apt-get as root or through sudo, or says in one line what is missing.

CARGO ?= cargo
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/orlop
# Debug assertions in our own crates; the dependencies keep the release profile's build.
ASSERTIONS := --config .cargo/assertions.toml
# An engine of its own, whose threads a seed schedules.
SCHEDULED := -p orlop-gc --features schedules --test schedules
EVERY_ORDER := -p orlop-engine --no-default-features --features schedules --lib every_order
BINARIES := $(or $(CARGO_TARGET_DIR),target)/release
FUZZ_SECONDS ?= 30
REPEAT ?= 3
BLOBS ?= 10000000
SECONDS ?= 600
POINTS ?= 5000
IMAGES ?= 500
SEED ?= 1
SCHEDULES ?= 100000
CONNECTIONS ?= 10000
FLOOD ?= 60

export ORLOP_CACHE := $(CACHE)
# rustup puts cargo where a shell without its profile does not look.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: run test soak crash schedules attack bench compare scale collect fuzz check

# A registry on http://127.0.0.1:8080 with its data in ./orlop-data; prints how to push an image.
run:
	scripts/setup build
	$(CARGO) build --release --bin orlop
	exec $(BINARIES)/orlop serve --hint

# CONFORMANCE=SUITE also runs that executable of the OCI conformance suite.
# The binary is built together with the tests, so that both see the same features and nothing
# heavy is compiled twice. Examples in the documentation run first; the last lines are the
# whole-registry tests, which take longest.
test:
	scripts/setup test
	$(CARGO) build --release $(ASSERTIONS) --workspace --bins --tests
	$(CARGO) test --release $(ASSERTIONS) --workspace --doc
	$(CARGO) test --release $(ASSERTIONS) --workspace --lib --bins --tests
	$(CARGO) test --release $(ASSERTIONS) $(SCHEDULED)
	$(CARGO) test --release $(ASSERTIONS) $(EVERY_ORDER)
	$(if $(CONFORMANCE),scripts/conformance $(CONFORMANCE))

# CI traffic with collections back to back for SECONDS, every byte compared; then 100,000 random
# graphs against a slow model of collection.
soak:
	scripts/setup test
	$(CARGO) build --release $(ASSERTIONS) --workspace --bins --tests
	ORLOP_SOAK_SECONDS=$(SECONDS) $(CARGO) test --release $(ASSERTIONS) -p orlop-tests --test registry soak
	ORLOP_GRAPHS=100000 $(CARGO) test --release $(ASSERTIONS) -p orlop-gc --test collection graphs

# Never lose, never lie (docs/reliability.md): the model crashed everywhere, rot, a disk filled a hundred
# times, one that loses power POINTS times and fails at each operation (root), IMAGES of each of four real file
# systems after a power cut (root), and SIGKILL under verifying clients for SECONDS. Each prints what it did;
# SEED repeats a run.
crash:
	scripts/setup test
	$(CARGO) build --release $(ASSERTIONS) --workspace --bins --tests
	ORLOP_RIG_SEED=$(SEED) ORLOP_MODEL_STATES=1000000 $(CARGO) test --release $(ASSERTIONS) -p orlop-gc --test crashes -- --nocapture
	$(MAKE) schedules SEED=$(SEED)
	ORLOP_RIG_SEED=$(SEED) ORLOP_ROT_HARMS=20000 ORLOP_ROT_INDEX_HARMS=1000 \
		$(CARGO) test --release $(ASSERTIONS) -p orlop-engine --test store rot -- --nocapture
	ORLOP_RIG_SEED=$(SEED) ORLOP_FULL_ROUNDS=100 $(CARGO) test --release $(ASSERTIONS) -p orlop-tests --test registry full -- --nocapture
	ORLOP_RIG_SEED=$(SEED) ORLOP_FAULT_POINTS=$(POINTS) ORLOP_FAULT_RUNS=1000000 \
		$(CARGO) test --release $(ASSERTIONS) -p orlop-tests --test faults -- --nocapture --test-threads 2
	ORLOP_RIG_SEED=$(SEED) ORLOP_BLOCK_IMAGES=$(IMAGES) \
		$(CARGO) test --release $(ASSERTIONS) -p orlop-tests --test block -- --nocapture --test-threads 2
	ORLOP_RIG_SEED=$(SEED) ORLOP_CRASH_SECONDS=$(SECONDS) $(CARGO) test --release $(ASSERTIONS) -p orlop-tests --test registry crash -- --nocapture

# Races (docs/reliability.md): SCHEDULES orders of everything in each scenario, chosen by SEED; prints the counts.
schedules:
	scripts/setup test
	ORLOP_RIG_SEED=$(SEED) ORLOP_SCHEDULES=$(SCHEDULES) $(CARGO) test --release $(ASSERTIONS) $(SCHEDULED) -- --nocapture

# Every attack of docs/security.md at full size: CONNECTIONS clients, floods of FLOOD seconds; prints the figures.
attack:
	scripts/setup test
	$(CARGO) build --release $(ASSERTIONS) --workspace --bins --tests
	ORLOP_ATTACK_CONNECTIONS=$(CONNECTIONS) ORLOP_ATTACK_SECONDS=$(FLOOD) \
		$(CARGO) test --release $(ASSERTIONS) -p orlop-tests --test security -- --nocapture --test-threads 1

# Criterion benches of every stage; reports in target/criterion.
bench:
	scripts/setup build
	$(CARGO) bench --package orlop-benches

# Orlop, docker-registry and nginx under the same load, REPEAT times in turns, and any registry given
# as REGISTRY=http://HOST:PORT; writes docs/comparison.md and docs/comparison.svg. SKIP names parts to leave
# out: registries, files, tls, memory.
compare:
	scripts/setup build
	scripts/setup compare
	$(CARGO) build --release --bin orlop
	benches/compare/compare.py --orlop $(BINARIES)/orlop --repeat $(REPEAT) $(addprefix --skip ,$(SKIP)) \
		$(if $(REGISTRY),--registry $(REGISTRY))

# A registry with BLOBS blobs beside an empty one: size of the index, start, HEAD, manifest push, memory.
# JSON=FILE also writes the figures there, STORE=DIR keeps the store for the next time.
scale:
	scripts/setup build
	$(CARGO) bench --package orlop-benches --bench scale -- --blobs $(BLOBS) $(if $(JSON),--json $(JSON)) $(if $(STORE),--store $(STORE))

# Collection of a store with BLOBS blobs: what a run costs by the share of garbage, and what clients notice of
# it. STORE=DIR keeps the store for the next time.
collect: BLOBS = 1000000
collect:
	scripts/setup build
	$(CARGO) bench --package orlop-benches --bench collect -- --blobs $(BLOBS) $(if $(STORE),--store $(STORE))

# Every fuzz target for FUZZ_SECONDS each.
fuzz:
	scripts/setup build
	scripts/fuzz $(FUZZ_SECONDS)

# Formatting and lints, warnings being errors.
check:
	scripts/setup build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --release $(SCHEDULED) -- --deny warnings
	$(CARGO) clippy --release $(filter-out every_order,$(EVERY_ORDER)) -- --deny warnings
