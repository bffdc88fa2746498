# `make` lists the targets. What is more than a line stands in .ci and scripts.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help
.PHONY: help demo run test soak lint bench build specs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## try it in this terminal, with stand-ins for Telegram and the app server; no accounts needed
	go run ./cmd/bridge demo

run: ## run the bridge with the settings of the environment and .env
	go run ./cmd/bridge

test: ## run all tests; installs what they need (redis-server) where it is missing
	@.ci/setup
	@.ci/test

soak: ## run the long tests, and write their table to bench/SOAK.md
	@.ci/setup
	@.ci/soak

lint: ## check style, mistakes and which package may import which
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

bench: ## measure
	@.ci/bench

build: ## build ./bin/bridge, static
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/bridge ./cmd/bridge

specs: ## fetch the platforms' API definitions, which some tests check requests against, into ./specs
	go run ./scripts/specs
