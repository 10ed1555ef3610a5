# The commands of this project. What they do is written in deploy/dev/, one script a command.

# rustup adds itself to the PATH of login shells only.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help up down reset test fmt bench-intake bench-worker loadtest chaos fuzz sqlx audit

help: ## lists these commands
	@echo "make COMMAND, where COMMAND is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1 \2/p' Makefile | sed 's/^  \([a-z-]*\) /  \1\t/' | expand -t 12

up: ## everything on this machine, in the foreground (PORT=3000 WORKERS=2; DATABASE_URL and AMQP_URL replace the private ones)
	@deploy/dev/up.sh

down: ## stops a running `make up`, or clears up after one that was killed
	@deploy/dev/down.sh

reset: ## wipes the data of `make up`
	@deploy/dev/reset.sh

test: ## lints and tests, on a throwaway PostgreSQL and RabbitMQ (ARGS='a nextest filter' picks tests)
	@deploy/dev/test.sh $(ARGS)

fmt: ## formats the Rust code
	@cargo fmt --all

bench-intake: ## what the intake can do, beside its limits, some minutes (ARGS='accept polls streams latency' picks)
	@deploy/dev/bench.sh intake $(ARGS)

bench-worker: ## what a worker can do, beside its limits, some minutes (ARGS='batches drain scale latency growth' picks)
	@deploy/dev/bench.sh worker $(ARGS)

loadtest: ## floods a private installation and proves that nothing was lost, two minutes (ARGS='soak --duration 20m' is another run)
	@deploy/dev/loadtest.sh $(ARGS)

chaos: ## one fault after the other under load, and a verdict (DURATION=10m SEED=1 picks how long, and which faults)
	@CHAOS_DURATION=$(DURATION) CHAOS_SEED=$(SEED) deploy/dev/test.sh --run-ignored only --no-capture -E 'binary(faults) & test(/^chaos::/)'

fuzz: ## feeds the parsers of what comes from outside with anything, for two minutes (FUZZ_SECONDS=60 for each)
	@deploy/dev/fuzz.sh

sqlx: ## writes .sqlx anew, after a query or a migration has changed
	@deploy/dev/sqlx.sh

audit: ## licences, banned crates, sources and advisories of all dependencies
	@deploy/dev/audit.sh
