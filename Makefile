# Nothing is hidden here: each verb is one or two commands that you can type.

.DEFAULT_GOAL := help
.PHONY: help build test lint demo golden bench check

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 9

build: ## build ./postern
	go build -trimpath -o postern ./cmd/postern

test: ## run all tests, with the race detector
	go test -race -shuffle=on ./...

lint: ## format, style, and who may import whom
	go tool -modfile=.ci/tools/go.mod golangci-lint run ./...

demo: ## see events arrive: no config, no network
	go run ./cmd/postern demo

golden: ## write golden files and JSON Schemas anew; then read the diff
	go generate ./...
	go test ./cmd/postern $(patsubst %/testdata/,./%,$(wildcard handlers/*/testdata/)) -update

bench: ## run all benchmarks
	go test -run='^$$' -bench=. -benchmem ./...

check: ## run everything that a change must pass
	.ci/run
