# The front door. Every target sets the machine up by itself; see harness/scripts/setup.sh for what that means.

.PHONY: help demo soak test bench images lint ci

help:
	@echo 'make demo    play the chaos scenarios against real services and write a report'
	@echo 'make soak    play them again and again with new seeds, for SOAK=30m'
	@echo 'make test    run every test'
	@echo 'make bench   run the benchmarks'
	@echo 'make images  build the container images from Debian packages, without an image registry'
	@echo 'make lint    formatting, clippy, documentation, licences'

demo:
	@sh harness/scripts/setup.sh run
	cargo build --locked -p seaworthy-scenarios
	target/debug/seaworthy run

# How long the scenarios are played again and again.
SOAK ?= 30m

soak:
	@sh harness/scripts/setup.sh run
	cargo build --locked -p seaworthy-scenarios
	target/debug/seaworthy run --soak $(SOAK) --report target/seaworthy/soak

# What the tests need beyond the default features: the fault proxy's server, the driver of a Toxiproxy server, and queues in Redis.
FEATURES = seaworthy-fault-proxy/server,seaworthy-harness/toxiproxy,seaworthy-queue/redis

# The container tests choose Docker by themselves; the rest runs on native processes, which start faster.
test:
	@sh harness/scripts/setup.sh test
	SEAWORTHY_PROVIDER=$${SEAWORTHY_PROVIDER:-native} cargo test --locked --workspace --features $(FEATURES)

bench:
	@sh harness/scripts/setup.sh run
	cargo bench --locked -p seaworthy-benches

images:
	@sh harness/scripts/offline-images.sh

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; \
	else echo 'cargo-deny is not installed: licences were not checked'; fi
