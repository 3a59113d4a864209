# Everything there is to do here; `make` lists it.
GO       ?= go
SERVICES := deploy/local/services.sh
# Pinned, so that a new release does not fail an old commit.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/engine
	$(GO) build -o bin/engine ./engine/cmd/engine

run: build ## run pipelines/day2.yaml with nothing else installed; ctrl-C ends it
	bin/engine run pipelines/day2.yaml

test: ## all tests that need only Go, with the race detector
	$(GO) test -race -shuffle=on -timeout 30m ./...

# The packages with such tests: what the others have, `make test` runs.
REAL = $(sort $(dir $(shell grep -rl --include='*_test.go' '^//go:build real' engine pipelines stages)))
test-real: ## tests against real Kafka, PostgreSQL and Redis (after services-up)
	. .services/env && $(GO) test -race -shuffle=on -tags real -p 1 -timeout 30m $(REAL:%=./%)

# Their services are their own, and so are the ports. SEED=7 replays a seed, RUN is a
# regular expression of the tests to run; go test prints as it goes in its own folder.
SEEDS ?= 20
RUN   ?= .
test-faults: ## pipelines while everything they depend on fails: scenarios and SEEDS=20 random schedules
	$(SERVICES) fetch
	cd faults && SEEDS=$(SEEDS) SEED=$(SEED) $(GO) test -race -count=1 -tags faults -timeout 90m -run '$(RUN)'

lint: ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "gofmt: $$files"; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags real,faults ./...
	$(GO) run $(STATICCHECK) -tags real,faults ./...

bench: ## benchmarks beside the code, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./...

services-up: ## install and start real Kafka, PostgreSQL and Redis, without Docker
	$(SERVICES) up

services-down: ## stop them
	$(SERVICES) down

.PHONY: help build run test test-real test-faults lint bench services-up services-down
