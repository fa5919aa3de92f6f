# sockloop: everything that there is to do. `make` lists it.
CPU   ?= 0
CPUS  ?= 1-3
PORT  ?= 8080
TARGET ?= ws://127.0.0.1:$(PORT)/broadcast
ARGS  ?=
FUZZTIME ?= 20s
SOAK  ?= 10m
GO    ?= go
# Without cgo the programs are static: no C library to load, a megabyte less of resident memory.
export CGO_ENABLED ?= 0

# Pinned tools.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.6.2

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

.PHONY: build
build: ## Build the programs into bin/
	@mkdir -p bin
	$(GO) build -trimpath -buildvcs=auto -o bin/ ./server/cmd/sockloop ./loadclient/cmd/sockload ./benchmarks/goroutine \
	  ./benchmarks/goroutine-batched ./benchmarks/fixed ./benchmarks/limit
	$(GO) build -trimpath -buildvcs=auto -o bin/benchmarks ./benchmarks

# Where `make install` installs to; DESTDIR stands before it.
PREFIX ?= /usr/local

.PHONY: install
install: build ## Install the programs, man pages, completion and the systemd unit: PREFIX=/usr/local DESTDIR=
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin bin/sockloop bin/sockload
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	for p in sockloop sockload; do \
	  bin/$$p man > $(DESTDIR)$(PREFIX)/share/man/man1/$$p.1 && \
	  bin/$$p completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/local/|$(PREFIX)/|' deploy/systemd/sockloop@.service > \
	  $(DESTDIR)$(PREFIX)/lib/systemd/system/sockloop@.service

DIST ?= dist

.PHONY: release
release: ## Make the archives of a release for amd64 and arm64, SBOMs and checksums: DIST=dist
	@./deploy/release $(DIST)

.PHONY: release-check
release-check: ## Make a release twice, the second time compiled anew, and compare
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && ./deploy/release $$dir/one && \
	BUILDFLAGS=-a ./deploy/release $$dir/two && diff $$dir/one/SHA256SUMS $$dir/two/SHA256SUMS && cat $$dir/one/SHA256SUMS

.PHONY: run-server
run-server: build ## Run the server: CPU=0 PORT=8080 ARGS="…"
	bin/sockloop --cpu $(CPU) --addr 127.0.0.1:$(PORT) $(ARGS)

.PHONY: load
load: build ## Load a server: CPUS=1-3 TARGET=ws://… ARGS="…"
	bin/sockload run --cpus $(CPUS) --target $(TARGET) $(ARGS)

.PHONY: bench
bench: build ## The main job: where do sockloop and the goroutine server saturate? ARGS="--blocks 3"
	bin/benchmarks $(ARGS)

.PHONY: bench-transports
bench-transports: build ## What SockJS over HTTP costs: WebSocket, xhr-streaming and eventsource at 2000 connections
	bin/benchmarks --suite transports $(ARGS)

.PHONY: peers
peers: build ## Install other people's servers, those that can be
	bin/benchmarks --install

.PHONY: bench-peers
bench-peers: build ## Compare with all installed peers: an hour a block. ARGS="--blocks 3 --only sockloop,bun"
	bin/benchmarks --suite peers $(ARGS)

.PHONY: bench-controls
bench-controls: build ## Check the instrument: a server against itself, and one whose capacity is known. ARGS="--blocks 5"
	bin/benchmarks --suite controls $(ARGS)

.PHONY: bench-batching
bench-batching: build ## Batched or not, goroutines or a loop. ARGS="--blocks 3"
	bin/benchmarks --suite batching $(ARGS)

.PHONY: bench-walls
bench-walls: build ## What comes in and what goes out: all send, or 50. ARGS="--blocks 3"
	bin/benchmarks --suite walls $(ARGS)

.PHONY: bench-compression
bench-compression: build ## What compressing each batch once is worth, 50 connections sending. ARGS="--blocks 3"
	bin/benchmarks --suite compression $(ARGS)

.PHONY: bench-gather
bench-gather: build ## Messages gathered for 0, 2, 5 and 20 ms: CPU and round trips at 0.1 to 100 million/s
	bin/benchmarks --suite gather $(ARGS)

.PHONY: bench-equal
bench-equal: build ## All servers at the same rates, 10 thousand to 10 million a second. ARGS="--blocks 3"
	bin/benchmarks --suite equal $(ARGS)

.PHONY: bench-echo
bench-echo: build ## Each connection hears itself. ARGS="--blocks 3"
	bin/benchmarks --suite echo $(ARGS)

.PHONY: bench-overload
bench-overload: build ## Three times what a server can carry, and what it does then: ARGS="--rate 6e8"
	$(GO) run ./benchmarks/overload $(ARGS)

.PHONY: bench-operation
bench-operation: build ## What scraping, a broker, and two and three processes cost (needs nats-server): ARGS="-blocks 3"
	$(GO) run ./benchmarks/operation $(ARGS)

.PHONY: test
test: ## Run the tests, with the race detector where there is a C compiler
	@./.ci/test

.PHONY: check
check: ## Format, lint and test
	@test -z "$$(gofmt -l .)" || { echo "gofmt these files:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) run $(GOLANGCI_LINT) run ./...
	@./.ci/test

# Packages whose tests must find mutants: the least score in per cent and, where the tests are slow, how many are drawn.
MUTANTS ?= ./codec=90 ./broadcast=90 ./server=80,200
# Tests that are not used: they take minutes, or watch a server in another process.
MUTANTS_SKIP ?= ^Test(Attack|Delivery)

.PHONY: mutants
mutants: ## Break the code in small ways and count what the tests find: MUTANTS="./codec=90" ARGS="-only Decode"
	$(GO) run ./internal/mutants -report docs/mutants.md -skip '$(MUTANTS_SKIP)' $(ARGS) $(MUTANTS)

.PHONY: soak
soak: ## Attack and load the server for SOAK=10m in all, the delivery checker included
	$(GO) test ./server -run 'Attack|Delivery' -timeout 0 -count 1 -v -soak=$(SOAK)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME=20s
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done
