# `make` lists the targets. What is more than a line stands in .ci and scripts.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help
.PHONY: help demo run test test-refusals attack test-browser test-examples test-deploy example-express example-go screenshots soak chaos lint bench build specs llms pin

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## try it on a page, with stand-ins for Telegram, Discord, Slack and the app server; no accounts needed
	@echo 'compiling the bridge; the first time takes a minute or two'
	@go build -o bin/bridge ./cmd/bridge
	@bin/bridge demo

run: ## run the bridge with the settings of the environment and .env
	@go build -o bin/bridge ./cmd/bridge
	@bin/bridge

test: ## run all tests; installs what they need (redis-server) where it is missing
	@.ci/setup
	@.ci/test

test-refusals: ## refuse every platform's every operation in every way, and look at what waits; without the race detector, for its length
	go test -tags refusals -count=1 -parallel 8 -run '^TestRefusals$$' ./cmd/bridge

attack: ## attack the running program in all the ways of docs/security.md, on both stores
	@.ci/setup
	go test -tags attack -count=1 -timeout 5m -run '^TestAttacks$$' ./cmd/bridge

test-browser: ## use the demo's page in a browser, as people do; installs chromium where it is missing
	@.ci/test-browser

test-examples: ## run the examples of app servers, two of them in a browser; installs by apt what they run on
	@.ci/test-examples

test-deploy: ## read the files of deploy/ as Kubernetes, Compose and Prometheus do
	@.ci/test-deploy

example-express: ## run the Express example, beside make demo, at http://localhost:3003
	@npm --prefix clients/node ci --silent && npm --prefix clients/node run --silent build
	@npm --prefix examples/express ci --silent && npm --prefix examples/express start --silent

example-go: ## run the Go example, beside make demo, at http://localhost:3004
	@cd examples/go && go run .

screenshots: ## draw the pictures in docs anew
	@.ci/test-browser -tags browser,screenshots -run TestScreenshots

soak: ## run the long tests, and write their table to bench/SOAK.md
	@.ci/setup
	@.ci/soak

chaos: ## let everything fail at once, on both stores, for CHAOS=10m each by a SEED, and write what came of it to bench/SOAK.md
	@.ci/setup
	@.ci/chaos

lint: ## check style, mistakes and which package may import which
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...
	cd clients/go && go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...
	cd examples/go && go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

bench: ## measure
	@.ci/bench

build: ## build ./bin/bridge, static
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/bridge ./cmd/bridge

specs: ## fetch the platforms' API definitions, which some tests check requests against, into ./specs
	go run ./scripts/specs

llms: ## write llms.txt, what the documentation has for programs that read it, from the pages
	go run ./scripts/llms

pin: ## put the hashes of actions and images behind their tags; needs git, docker and the internet
	go run ./scripts/pin
