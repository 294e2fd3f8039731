# The targets need Go and make; each does its own set-up.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X github.com/mirrorcred/mirrorcred/cmd/internal/plugin.Version=$(VERSION)
# Without the first tag grpc links a package that has the linker keep every method there
# is: a fifth of the manager. The second leaves out net/http's HTTP/2, a thirtieth of each
# program: only grpc speaks it here, by code of its own.
TAGS     = grpcnotrace,nethttpomithttp2
BIN      = bin
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build demo test lint bench fleet fuzz fuzz-short e2e e2e-all kill model mutate dist dist-test dist-same clean

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
	GOOS=windows GOARCH=amd64 go build -o /dev/null ./cmd/mirror-credential-provider
	GOOS=windows GOARCH=amd64 go vet $$(GOOS=windows GOARCH=amd64 go list -deps ./cmd/mirror-credential-provider | grep ^github.com/mirrorcred/)
	cd e2e && go vet ./... && go run $(STATICCHECK) ./...
	cd deploy && export CGO_ENABLED=0 && go vet ./... && go mod tidy -diff && go run $(STATICCHECK) ./...
	cd e2e/ecr && go vet ./... && go run $(STATICCHECK) ./...

# A real kubelet, a real containerd and another vendor's credential provider, as root:
# the containerds that every change is held against, or every line of them.
e2e:
	e2e/run.sh

e2e-all:
	E2E_CONTAINERD=all e2e/run.sh
	E2E_KUBELET=1.36.3 e2e/run.sh

# Kills the manager at random while its map changes, as root, for KILL.
KILL ?= 2m
kill:
	go test -v -count=1 -timeout 20m ./cmd/mirrorcred -run '^TestKillAtRandom$$' -kill.for $(KILL)

# The models of a node with seeds that no run before had: make test has the same
# seeds each time, so that a change does not wait for a fault that is older than it.
model:
	go test ./cmd/internal/plan -run 'TestModel$$' -v -args -model.steps=1000000 -model.seed=0
	@for i in 1 2 3 4 5 6 7 8; do \
		seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); echo "seed $$seed"; \
		go test ./cmd/internal/node -run 'TestModel$$|TestStockModel$$' -args -model.seed=$$seed || exit 1; \
	done

# Breaks the program on purpose, one promise at a time, and checks that a test
# notices. Arguments in MUTATE, such as MUTATE="-run drain".
mutate:
	cd e2e && go run ./mutate $(MUTATE)

# Figures for docs/performance.md. Each benchmark repeats what it measures by
# itself and reports medians. One package at a time: two would be in each other's
# way.
bench:
	go test -p 1 -run '^$$' -bench . -benchtime 1x -timeout 30m ./cmd/internal/node ./cmd/mirror-credential-provider ./cmd/mirrorcred

# Plays 10,000 nodes, and writes docs/fleet.svg and the tables of docs/performance.md.
# make test plays 500, and checks that both are current.
fleet:
	go test -count=1 -timeout 30m ./cmd/internal/fleet -run '^TestCurrent$$' -update

# Each fuzz target for FUZZTIME: a time, or a count of runs such as 5000x. With
# FUZZ_EVERY=4, one target in four, other ones for each commit.
FUZZTIME ?= 60s
FUZZ_EVERY ?= 1
fuzz:
	@set -e; i=$$((0x$$(git rev-parse --short=6 HEAD 2>/dev/null || echo 0))); \
	for file in $$(grep -rl --include='*_test.go' --exclude-dir=e2e '^func Fuzz' . | sort); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' $$file); do \
			i=$$((i + 1)); \
			if [ $$((i % $(FUZZ_EVERY))) != 0 ]; then continue; fi; \
			echo "$${file%/*} $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $${file%/*}; \
		done; done

# A short run of some for each change; "make test" has compiled all of them and given them
# their seeds. It is a count of runs, not a time: at the end of a time the go command
# sometimes reports its own deadline as the target's failure.
fuzz-short:
	@$(MAKE) --no-print-directory fuzz FUZZTIME=3000x FUZZ_EVERY=4

# Programs, packages, an image and their sums, in dist/. The same commit and the
# same Go give the same bytes.
dist:
	cd deploy && go run ./dist

# Installs, upgrades, removes and purges the packages, as root, in a tree of its
# own; needs dpkg and rpm. Renders the chart with Helm's code, which is compiled once
# for this, for lint and for e2e: without cgo.
dist-test:
	cd deploy && CGO_ENABLED=0 go test -count=1 -timeout 20m ./...

# Makes a second dist from another directory, with an empty build cache, and
# compares it with the one in dist/.
dist-same:
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
		git clone -q . "$$work/elsewhere"; \
		(cd "$$work/elsewhere/deploy" && GOCACHE="$$work/cache" go run ./dist); \
		cmp dist/SHA256SUMS "$$work/elsewhere/dist/SHA256SUMS" && echo "the same bytes"

clean:
	rm -rf bin dist
