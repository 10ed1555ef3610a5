# The commands of this project. Each is implemented by a script in deploy/dev/.

# rustup adds itself to the PATH of login shells only.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help up down reset test page page-mutants fmt bench-intake bench-nodes bench-worker loadtest chaos test-upgrade fuzz model mutants test-next clean-next test-images sqlx objects settings metrics kubernetes audit

help: ## list these commands
	@echo "Usage: make COMMAND, where COMMAND is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1 \2/p' Makefile | sed 's/^  \([a-z-]*\) /  \1\t/' | expand -t 15

up: ## run everything in the foreground (PORT=3000 WORKERS=2 PROMETHEUS=1; set DATABASE_URL or AMQP_URL to use existing services)
	@deploy/dev/up.sh

down: ## stop a running `make up`, or clean up after one that was killed
	@deploy/dev/down.sh

reset: ## delete the data of `make up`
	@deploy/dev/reset.sh

test: ## run lints and tests on a throwaway PostgreSQL and RabbitMQ (ARGS='a nextest filter' selects tests)
	@deploy/dev/test.sh $(ARGS)

test-next: ## run `make test` on Debian 13 with RabbitMQ 4 and PostgreSQL 17, in .dev/next (as root; ARGS selects; REUSE_TARGET=1)
	@deploy/dev/test-next.sh $(ARGS)

clean-next: ## delete the Debian 13 of `make test-next`
	@rm -rf .dev/next

test-images: ## build both images, and book a seat through them (as root, or with Docker or Podman)
	@deploy/dev/test-images.sh

page: ## format the booking page, and make the files of it that are committed
	@deploy/dev/page.sh make

page-mutants: ## put one bug after another into the booking page, and check that a scenario in Chromium finds it (ARGS='part of a description' selects)
	@deploy/dev/browser-test.sh --mutants $(ARGS)

fmt: ## format the Rust code
	@cargo fmt --all

bench-intake: ## measure the intake against its limits; several minutes (ARGS='accept polls streams latency reads attacks metrics maps' selects)
	@deploy/dev/bench.sh intake $(ARGS)

bench-worker: ## measure a worker against its limits; several minutes (ARGS='batches drain scale latency growth' selects)
	@deploy/dev/bench.sh worker $(ARGS)

bench-nodes: ## measure what more api instances, workers and RabbitMQ nodes cost; half an hour (ARGS='1/1/1 2/4/3': apis/workers/brokers)
	@deploy/dev/bench-nodes.sh $(ARGS)

loadtest: ## flood a private installation and prove that nothing was lost; two minutes (ARGS='soak --duration 20m' for another run)
	@deploy/dev/loadtest.sh $(ARGS)

chaos: ## inject one fault after another under load and check the result (DURATION=10m; SEED=1 selects the faults)
	@CHAOS_DURATION=$(DURATION) CHAOS_SEED=$(SEED) deploy/dev/test.sh --run-ignored only --no-capture -E 'package(hamro-e2e) & test(/^faults::chaos::/)'

test-upgrade: ## upgrade from an earlier revision and roll back, under load, behind both proxies (PREVIOUS='a git revision')
	@PREVIOUS=$(PREVIOUS) deploy/dev/test-upgrade.sh

fuzz: ## fuzz the parsers of external input and the event stream encoder, three minutes (FUZZ_SECONDS=60 for each)
	@deploy/dev/fuzz.sh

model: ## explore the models of the protocol with larger bounds; some minutes (ARGS='settlement' selects)
	@deploy/dev/model.sh $(ARGS)

mutants: ## mutation tests of the domain and the allocation; about an hour (ARGS='--file worker/src/settlement/allocation.rs' selects)
	@deploy/dev/mutants.sh $(ARGS)

sqlx: ## regenerate .sqlx after a change of queries or migrations
	@deploy/dev/sqlx.sh

objects: ## write the list of tables and indexes that hamro-api check expects, after a change of migrations
	@UPDATE_OBJECTS=1 SQLX_OFFLINE=true deploy/dev/with-stack.sh --only postgres objects -- cargo test --package hamro-api --locked --features faults --test it check::objects </dev/null

settings: ## write the settings into .env.example and docs/ARCHITECTURE.md after a change of one
	@UPDATE_SETTINGS=1 cargo test --workspace --locked --features faults --test it settings::

metrics: ## write docs/METRICS.md after a change of a metric
	@UPDATE_METRICS=1 SQLX_OFFLINE=true deploy/dev/with-stack.sh metrics -- cargo test --workspace --locked --features faults --test it metrics::page:: </dev/null

kubernetes: ## copy alert rules and versions into the Kubernetes manifests, and check them
	@deploy/dev/kubernetes.sh --write

audit: ## check licences, banned crates, sources and advisories of all dependencies (OFFLINE=1 skips the advisories)
	@OFFLINE=$(OFFLINE) deploy/dev/audit.sh
