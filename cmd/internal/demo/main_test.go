package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// TestMain makes the test's binary the containerd that the demo starts, as the
// demo's own is.
func TestMain(m *testing.M) {
	done, err := nodetest.Containerd(context.Background(), ways(), os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if done {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestDemo(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out strings.Builder
	if err := run(t.Context(), nil, nil, &out); err != nil {
		t.Fatalf("run() = %v after\n%s", err, out.String())
	}
	if !strings.HasSuffix(out.String(), "\ndemo: ok\n") {
		t.Errorf("the last line is not \"demo: ok\":\n%s", out.String())
	}
	if strings.Contains(out.String(), azuretest.Canary) {
		t.Errorf("a secret is printed:\n%s", out.String())
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v); want nothing", left, err)
	}
}

func TestDemoFails(t *testing.T) {
	var out strings.Builder
	t.Setenv("TMPDIR", t.TempDir())
	if err := run(t.Context(), []string{"-bin", t.TempDir()}, nil, &out); err == nil || strings.Contains(out.String(), "demo: ok") {
		t.Errorf("run() without programs = %v; want an error\n%s", err, out.String())
	}
}
