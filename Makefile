# The targets need Go and make; each does its own set-up.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X github.com/mirrorcred/mirrorcred/cmd/internal/plugin.Version=$(VERSION)
# Without this tag grpc links a package that has the linker keep every method
# there is: a fifth of the manager.
TAGS     = grpcnotrace
BIN      = bin
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build demo test lint bench fuzz e2e e2e-all clean

all: build

# The plugin and the manager, as they are installed on a node.
build:
	CGO_ENABLED=0 go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/mirrorcred ./cmd/mirror-credential-provider

# The main job against stand-ins on loopback: no root, no cloud.
demo: build
	go run ./cmd/internal/demo -bin bin

# Never from Go's cache of results: it does not see the programs that some tests
# build and run.
test:
	go test -count=1 -timeout 20m ./...

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted; run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go mod tidy -diff
	go run $(STATICCHECK) ./...
	cd e2e && go vet ./... && go run $(STATICCHECK) ./...
	cd e2e/ecr && go vet ./... && go run $(STATICCHECK) ./...

# A real kubelet, a real containerd and a credential provider of others, as root:
# the containerds that every change is held against, or every line of them.
e2e:
	e2e/run.sh

e2e-all:
	E2E_CONTAINERD=all e2e/run.sh

# Figures for docs/performance.md. Each benchmark repeats what it measures by
# itself and reports medians. One package at a time: two would be in each other's
# way.
bench:
	go test -p 1 -run '^$$' -bench . -benchtime 1x -timeout 30m ./cmd/internal/node ./cmd/mirror-credential-provider ./cmd/mirrorcred

# Each fuzz target for FUZZTIME.
FUZZTIME ?= 60s
fuzz:
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; done

clean:
	rm -rf bin
