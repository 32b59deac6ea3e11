# Two of these are all the set-up there is: `make run` and `make test`.
SHELL := bash
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
# The race detector needs a C compiler; without one the tests run all the same.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

.PHONY: build run demo test check fmt vet staticcheck generate stale fuzz soak bench e2e clean help

# go build decides by itself what is stale. What it would stamp from git is in
# LDFLAGS already, and there it does not stop a build outside of a work tree.
build: ## build bin/drey, one static binary
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/drey ./cmd/drey

run: build ## serve on http://127.0.0.1:3739; needs no configuration
	./bin/drey serve

demo: build ## watch a provider break and come back
	./bin/drey demo

test: ## every test, with the race detector
	go test $(RACE) -timeout 15m ./...

check: fmt vet staticcheck stale test ## the whole truth, the same here and in CI
	$(MAKE) fuzz FUZZTIME=10s

fmt:
	@out=$$(find . -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt -l); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi

vet:
	go vet ./...

staticcheck:
	go tool staticcheck ./...

generate: ## rewrite what is generated from the code
	go build -buildvcs=false -o bin/generate ./cmd/drey
	bin/generate config schema > docs/drey.schema.json
	bin/generate config reference > docs/configuration-reference.md
	@rm -f bin/generate

stale: ## fail if a generated file is not what the code generates
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	go build -buildvcs=false -o $$tmp/drey ./cmd/drey; \
	$$tmp/drey config schema > $$tmp/schema; $$tmp/drey config reference > $$tmp/reference; \
	{ diff -u docs/drey.schema.json $$tmp/schema && diff -u docs/configuration-reference.md $$tmp/reference; } \
	|| { echo "stale: run 'make generate' and commit what it changes"; exit 1; }

FUZZTIME ?= 5m
# Go's fuzzer now and then takes its own deadline for a failure; a real one names
# the input that it has written down.
fuzz: ## each fuzz target for FUZZTIME (5m)
	@set -e; out=$$(mktemp); trap 'rm -f "$$out"' EXIT; for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$target $(FUZZTIME)"; \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg >$$out 2>&1 || \
	    if grep -q 'context deadline exceeded' $$out && ! grep -q 'Failing input' $$out; then echo "  ended at its deadline"; \
	    else cat $$out; exit 1; fi; \
	  done; done

soak: ## the long loops: kill -9, cancels, faults
	DREY_SOAK=1 go test $(RACE) -timeout 2h -count=1 ./internal/store/... ./internal/daemon/... ./internal/statedir/... \
	  ./internal/healing/... ./internal/dormancy/... ./internal/orchestrator/... ./cmd/drey/...

bench: build ## latency, throughput and the lifecycle's figures, each beside its reference
	go test -run '^$$' -bench . -benchtime 1s -count 1 ./internal/wire/... ./internal/route/... ./internal/health/... ./internal/store/... \
	  ./internal/gateway/... ./internal/upstream/... ./internal/guard/... ./internal/repair/... ./internal/affinity/... ./internal/autoroute/... \
	  ./internal/redact/... ./internal/spend/... ./internal/healing/... ./internal/server/... ./internal/lifecycle/... ./internal/dormancy/... \
	  ./internal/operation/... ./internal/orchestrator/...
	go test -run '^$$' -bench Failover -benchtime 1000x ./bench/inprocess
	go run ./bench/proxy
	go run ./bench/lifecycle

e2e: build ## Claude Code and Codex, headless, through drey
	./e2e/run

clean:
	rm -rf bin dist

help: ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
