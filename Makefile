# Entry points. Each does its own set-up; `scripts/setup` says what it installs.
.DEFAULT_GOAL := help
.PHONY: help run web build packages test test-rust test-web test-browser test-packages bench instructions soak fuzz conformance lint fmt clean

CARGO ?= cargo
# Where scripts/setup puts a newer Node than the machine has.
export PATH := $(CURDIR)/target/node/node_modules/node/bin:$(PATH)

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Build all and serve http://localhost:8080 (ARGS="--http-listen ...")
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@exec target/release/moznods serve $(ARGS)

web: web/dist/index.html ## Build the web client into web/dist

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json web/index.html web/docs.html web/vite.config.ts web/tsconfig.json \
		$(shell find web/src -type f 2>/dev/null) $(wildcard locales/*.json)
	cd web && npm run --silent build
	@touch $@

build: web ## Build target/release/moznods with the web client inside
	$(CARGO) build --release --locked

packages: build ## Build the .deb and the tarball into target/packages
	packaging/build target/release/moznods target/packages

test: ## Run all tests
	@scripts/setup test
	@$(MAKE) --no-print-directory test-web test-rust test-browser test-packages

test-web: web/node_modules/.package-lock.json
	cd web && npm test

test-rust: web
	$(CARGO) test --workspace --locked
	@scripts/test-nodes

tests/browser/node_modules/.package-lock.json: tests/browser/package.json tests/browser/package-lock.json
	cd tests/browser && npm ci --no-audit --no-fund
	@touch $@

test-browser: web tests/browser/node_modules/.package-lock.json
	$(CARGO) build --locked
	cd tests/browser && npm test

# Their own system is made in target/packages-test, once.
test-packages: web ## Install, use and remove the packages on a Debian of their own
	@scripts/setup test
	$(CARGO) build --locked
	packaging/test target/debug/moznods

fuzz: ## Fuzz the relay, each target for FUZZ_SECONDS (600)
	@scripts/fuzz

conformance: ## Write turn/CONFORMANCE.md anew from the tests
	CONFORMANCE_WRITE=1 $(CARGO) test --locked -p moznods-turn --test conformance

bench: ## Measure relay and chat beside coturn and bare programs (ARGS="client-peer-160 room-1000")
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	$(CARGO) build --release --locked -p moznods-bench
	@exec target/release/moznods-bench $(ARGS)

instructions: ## Count the instructions of the relay's core per packet (benches/BASELINE.md)
	@scripts/setup bench
	$(CARGO) build --release --locked -p moznods-bench
	@scripts/instructions

soak: ## Have 2,000 relay allocations come and go for ten minutes
	MOZNODS_SOAK_SECONDS=600 MOZNODS_SOAK_ALLOCATIONS=2000 \
		$(CARGO) test --release --locked -p moznods-turn --test soak -- --nocapture

lint: ## Check formatting and lint everything
	@scripts/setup lint
	@$(MAKE) --no-print-directory web
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	cd web && npm run --silent lint

fmt: web/node_modules/.package-lock.json ## Format everything
	$(CARGO) fmt --all
	cd web && npm run --silent format

clean: ## Remove what was built; data stays
	rm -rf target web/dist web/node_modules tests/browser/node_modules
