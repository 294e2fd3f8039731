#!/bin/sh
# Runs the tests on a node in a box, as root, and gets what they need: runc and
# systemd from the system's packages, all else from Go modules. Arguments go to
# "go test". The kubelet and the control plane of a cluster take minutes to build, once.
#
#	e2e/run.sh                          the containerds that every change is held against
#	E2E_CONTAINERD=all e2e/run.sh       every line of containerd
#	E2E_KUBELET=1.36.3 e2e/run.sh       the node's tests with another kubelet
#	E2E_CONTAINERD=all UPDATE=1 e2e/run.sh -run Shapes   writes docs/compatibility.md
set -eu
cd "$(dirname "$0")"
if [ "$(id -u)" != 0 ]; then
	echo "$0: these tests make namespaces and mounts, which takes root; run them as root" >&2
	exit 1
fi
if ! command -v runc >/dev/null || ! command -v systemctl >/dev/null; then
	apt-get update -q
	apt-get install -y -q --no-install-recommends runc systemd
fi
# Never from Go's cache of results: it does not see the programs under test.
if [ -z "${E2E_KUBELET:-}" ]; then
	# The kubelet's code as a library: built as the kubelet is, with which it
	# shares what is compiled.
	(cd kubelet && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go test -trimpath -count=1 -timeout 30m "$@" ./oracle)
fi
# The tests on a node mostly wait for it, so the others run beside them. First, all that
# they start is built.
go test -count=1 -timeout 60m -run '^$' .
log=$(mktemp)
go test -count=1 -timeout 60m "$@" . >"$log" 2>&1 &
nodes=$!
finish() {
	status=$?
	wait $nodes || { code=$?; [ $status != 0 ] || status=$code; } # also if another test failed
	cat "$log"
	rm -f "$log"
	exit $status
}
trap finish EXIT
trap 'trap - EXIT; kill $nodes 2>/dev/null || true; rm -f "$log"; exit 143' INT TERM
if [ -z "${E2E_KUBELET:-}" ]; then
	# Another vendor's credential provider, as a program.
	(cd ecr && GOFLAGS=-buildvcs=false go test -count=1 -timeout 30m "$@" .)
	# The manager, killed at random for longer than the tests of each change do.
	if [ $# = 0 ]; then
		(cd .. && go test -count=1 -timeout 30m ./cmd/mirrorcred -run '^TestKillAtRandom$' -kill.for 1m)
	fi
	go test -count=1 "$@" ./box
	# What each line of containerd does with a credential in hosts.toml: a sample of the
	# grid, or all of it.
	if [ "${E2E_CONTAINERD:-}" = all ]; then
		go test -count=1 -timeout 60m "$@" ./grid -grid.all
	else
		go test -count=1 -timeout 30m "$@" ./grid
	fi
	# What each line of containerd makes of random configurations; -v for what came
	# out. Its loader is built in seconds, with the CRI's plugins only. With every
	# line of containerd it links all of its plugins, and reads more of them.
	if [ "${E2E_CONTAINERD:-}" = all ]; then
		go test -v -count=1 -timeout 60m "$@" ./config -whole -trees 20000 -seed 0
	else
		go test -v -count=1 -timeout 30m "$@" ./config
	fi
fi
