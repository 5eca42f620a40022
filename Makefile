# Mayfly's workbench. `make` alone says what there is.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.SHELLFLAGS := -euc
MAKEFLAGS += --no-print-directory

# Words after `--` for the tests, such as `make test FILTER=reaper`.
FILTER ?=

# For `make crash` and `make ha`: how often the server is killed at random, how many things go wrong, and the seed of an earlier run to
# repeat.
KILLS ?= 500
FAULTS ?= 80
SEED ?=

# For `make bench`: issuing, growth, storm, leases, idle or load; several with blanks between.
SECTION ?=

.PHONY: help demo test crash ha matrix lint deps bench bench-quick docs build clean-cache

help: ## Says what there is.
	@printf 'Mayfly: database credentials that live for minutes.\n\n'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@printf '\nOn Debian and Ubuntu a Rust toolchain is all that must be there; what else is missing is installed (as root, or by\n'
	@printf 'sudo). Elsewhere each target says what to install. Servers and tools are kept in $$MAYFLY_CACHE.\n'

demo: ## Shows the whole story on real PostgreSQL and MariaDB: issue, log in, expire, be refused, revoke, audit.
	@scripts/prerequisites.sh build
	@scripts/servers.sh postgres mariadb
	@cargo run --locked --quiet -- demo

# The integration tests come last, so that the last line says how they went. They wait much of their time: one more runs at once than
# there are processors.
test: ## Runs all tests, against real PostgreSQL, MariaDB and MySQL servers. FILTER=words limits them.
	@scripts/prerequisites.sh build
	@scripts/servers.sh postgres mariadb mysql provider
	@cargo test --locked --doc -- $(FILTER)
	@RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(getconf _NPROCESSORS_ONLN) + 1))} cargo test --locked --lib --bins --tests -- $(FILTER)

crash: ## Kills the server at every crash point, then KILLS=500 times at random under load; SEED=… repeats a run.
	@scripts/prerequisites.sh build
	@scripts/servers.sh postgres mariadb mysql
	@MAYFLY_CRASH_SEED=$(SEED) MAYFLY_CRASH_KILLS=$(KILLS) scripts/soak.sh crash

ha: ## Lets everything go wrong with three replicas on one store, FAULTS=80 times at random under load; SEED=… repeats a run.
	@scripts/prerequisites.sh build
	@scripts/servers.sh postgres mariadb mysql
	@MAYFLY_HA_SEED=$(SEED) MAYFLY_HA_FAULTS=$(FAULTS) scripts/soak.sh ha

matrix: ## Runs the integration tests on PostgreSQL 15, 16, 17, 18, MariaDB 10.11 and MySQL 9: one line a version.
	@scripts/prerequisites.sh build
	@scripts/matrix.sh $(FILTER)

lint: ## Checks formatting, the compiler's and clippy's advice, and the gRPC contract.
	@scripts/prerequisites.sh build tools
	@cargo fmt --check
	@cargo clippy --locked --all-targets --quiet -- -D warnings
	@buf=$$(scripts/tools.sh buf); "$$buf" lint

deps: ## Checks licences, sources and banned crates of every dependency.
	@scripts/prerequisites.sh build tools
	@deny=$$(scripts/tools.sh cargo-deny); "$$deny" --log-level error --locked check --hide-inclusion-graph bans licenses sources

bench: ## Measures it all against the raw databases, in one run: table, target/bench/report.json, plots. SECTION=storm limits it.
	@scripts/prerequisites.sh build
	@scripts/servers.sh postgres mariadb mysql
	@cargo bench --locked --bench bench -- $(SECTION) --publish

bench-quick: ## The same in some two minutes, to see whether a change did harm.
	@scripts/prerequisites.sh build
	@scripts/servers.sh postgres mariadb mysql
	@cargo bench --locked --bench bench -- $(SECTION) --quick

docs: ## Builds the source's documentation; warnings are errors.
	@scripts/prerequisites.sh build
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items --quiet
	@printf 'docs: target/doc/mayfly/index.html\n'

build: ## Builds the optimised program (minutes): target/release/mayfly.
	@scripts/prerequisites.sh build
	@cargo build --locked --release
	@printf 'build: target/release/mayfly\n'

clean-cache: ## Removes the servers and tools kept outside the repository.
	@scripts/clean-cache.sh
