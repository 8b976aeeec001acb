# `make` alone lists what there is.
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: llama-server
llama-server: ## Install llama-server into .llama (GPU=vulkan adds the Vulkan backend)
	@deploy/llama-server/install.sh

.PHONY: build
build: ## Build bin/gateway
	@# Go's own stamping fails where git is missing or distrusts the checkout.
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/gateway ./cmd/gateway

# The benchmarks and the simulator are a module of their own, which the gateway needs nothing of.
.PHONY: build-bench
build-bench: ## Build bin/bench, which has the benchmarks and the simulator
	go build -C bench -trimpath -buildvcs=false -o ../bin/bench .

.PHONY: run
run: llama-server build ## Set everything up and serve config.yaml
	exec bin/gateway serve --config config.yaml

.PHONY: check
check: lint ## The quick check: formatting, vet, staticcheck, and the tests that need no llama-server
	go test -short -vet=off ./...
	go test -C bench -short -vet=off ./...

.PHONY: test
test: llama-server node-modules ## Run all tests against the real llama-server
	go test -race -timeout 20m ./...
	go test -C bench -race -timeout 10m ./...
	LORAGATE_TEST_KV=unified go test -race -timeout 10m -run '^Test(Soak|Conversations|Tenants|Usage)' ./cmd/gateway

# What would take too long for each change: many rounds of stopping and replacing under load.
.PHONY: test-full
test-full: llama-server ## Run the tests that take long
	LORAGATE_STOP_ROUNDS=50 LORAGATE_REPLACE_ROUNDS=20 go test -race -timeout 30m -count 1 -v -run '^Test(Stop|Replace)UnderLoad$$' ./cmd/gateway

# The tests with Node's SDKs, and with programs that are written with them, run where Node is.
.PHONY: node-modules
node-modules:
	@if command -v npm >/dev/null; then \
		cd test/sdk/node && npm ci --silent --no-audit --no-fund && \
		cd ../../clients && npm ci --silent --no-audit --no-fund --ignore-scripts && \
		cd node_modules/@anthropic-ai/claude-code && node install.cjs; \
	else \
		echo "node-modules: no npm here, the tests with Node's SDKs will say so"; \
	fi

.PHONY: conformance
conformance: llama-server ## Check what docs/llama-server.md says of llama-server, all of it
	go test -race -timeout 12m -tags conformance -count 1 ./test/conformance/...

.PHONY: demo-contamination
demo-contamination: llama-server ## Show how a bare llama-server mixes adapters up
	go run ./test/demo-contamination

.PHONY: soak
soak: llama-server ## Two minutes of mixed traffic, cancels and killed workers
	LORAGATE_SOAK=120s go test -race -timeout 6m -count 1 -v -run '^TestSoak$$' ./cmd/gateway

.PHONY: fuzz
fuzz: llama-server ## Send generated requests to a real worker (FUZZ=10m is how long)
	LORAGATE_FUZZ=$(or $(FUZZ),10m) go test -timeout 24h -count 1 -v -run '^TestGeneratedRequests$$' ./cmd/gateway

# Each of Go's fuzz targets in turn; FUZZ=5m is how long each.
.PHONY: fuzz-parsers
fuzz-parsers: ## Fuzz everything that reads what strangers send, a minute each
	@grep -rl --include='*_test.go' '^func Fuzz' internal bench | xargs -n 1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -h -o '^func Fuzz[A-Za-z]*' "$$dir"/*_test.go | cut -d ' ' -f 2); do \
			echo "fuzz: $$dir $$target"; \
			go test -C "$$dir" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZ),1m) . || exit 1; \
		done; \
	done

# On a GPU, and with models of other sizes, run it by hand: docs/benchmarks.md.
.PHONY: bench
bench: llama-server build build-bench ## Measure overhead, conversations and mixed traffic on this machine
	bin/bench all -gateway bin/gateway -args "--threads 1" \
		-concurrency 8 -workers 1,2 -tokens 60 -requests 64 -check -json bench.json

.PHONY: lint
lint: ## Check formatting, vet and staticcheck
	@unformatted=$$(gofmt -l bench cmd internal test); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	go vet -tags conformance ./...
	go vet -C bench ./...
	go tool staticcheck -tags conformance ./...
	cd bench && "$$(cd .. && go tool -n staticcheck)" ./...

.PHONY: audit
audit: ## Look for known vulnerabilities (needs the network)
	go tool govulncheck ./...
	go tool govulncheck -C bench ./...

.PHONY: release
release: ## Build the archives for linux and darwin on amd64 and arm64 into dist/
	@deploy/release.sh

.PHONY: clean
clean: ## Remove what was built, not llama-server
	rm -rf bin dist
