package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// TestTimeout holds that whatever does not answer is given up in time, and
// named.
func TestTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		hang   func(*azuretest.Cloud, *azuretest.ACR)
		want   string
	}{
		"managed identity":  {"managed", func(c *azuretest.Cloud, _ *azuretest.ACR) { c.Identity.Fail("", azuretest.Hang()) }, "managed identity: no answer from 127.0.0.1 within "},
		"service principal": {"principal", func(c *azuretest.Cloud, _ *azuretest.ACR) { c.Entra.Fail("", azuretest.Hang()) }, "service principal: no answer from login.microsoftonline.com within "},
		"proxy":             {"managed", func(c *azuretest.Cloud, _ *azuretest.ACR) { c.Proxy.Fail("", azuretest.Hang()) }, "registry challenge: no answer from foo.azurecr.io within "},
		"challenge":         {"managed", func(_ *azuretest.Cloud, a *azuretest.ACR) { a.Fail("/v2/", azuretest.Hang()) }, "registry challenge: no answer from foo.azurecr.io within "},
		"exchange":          {"managed", func(_ *azuretest.Cloud, a *azuretest.ACR) { a.Fail("/oauth2/exchange", azuretest.Hang()) }, "registry token exchange: no answer from foo.azurecr.io within "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, acrs := startCloud(t, "foo.azurecr.io")
			c.hang(cloud, acrs["foo.azurecr.io"])
			config := writeFile(t, t.TempDir(), "azure.json", configs[c.config])
			got := run(t, cloud, names[0], request("mcr.microsoft.com/x"), config, "-r", both, "--timeout=300ms")
			if got.code != 1 || !strings.Contains(got.stderr, c.want) || !strings.Contains(got.stderr, "by --timeout=300ms)\n") {
				t.Errorf("it exits %d with %s%s; want %s", got.code, got.answer(), got.stderr, c.want)
			}
			if got.took < 300*time.Millisecond || got.took > 5*time.Second {
				t.Errorf("it took %s", got.took)
			}
		})
	}
}

func TestTimeoutFlag(t *testing.T) {
	cloud, _ := startCloud(t)
	for value, want := range map[string]string{"0s": "from 1ms to 59s", "-1s": "from 1ms to 59s", "1m": "from 1ms to 59s", "soon": "invalid argument"} {
		if got := run(t, cloud, names[0], "", "/azure.json", "--timeout="+value); got.code != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("--timeout=%s exits %d with %s; want %s", value, got.code, got.stderr, want)
		}
	}
}

// start starts the program with a standard input that stays open, and returns
// what waits for its end.
func start(t *testing.T, cloud *azuretest.Cloud, stdin string, args ...string) (*os.Process, func() result) {
	t.Helper()
	cmd := command(t, cloud, names[0], args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(in, stdin); err != nil {
		t.Fatal(err)
	}
	if stdin != "" {
		in.Close()
	}
	return cmd.Process, func() result {
		// Not cmd.Wait: it would close standard input first.
		state, err := cmd.Process.Wait()
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		cmd.Wait()
		r := result{stdout.String(), stderr.String(), state.ExitCode(), time.Since(started)}
		r.check(t, names[0])
		return r
	}
}

// TestOpenStdin holds that a request which never ends is given up.
func TestOpenStdin(t *testing.T) {
	cloud, _ := startCloud(t)
	_, wait := start(t, cloud, "", "/nonesuch/azure.json", "--timeout=300ms")
	got := wait()
	if got.code != 1 || !strings.Contains(got.stderr, "waited for standard input to end; ") || got.took > 5*time.Second {
		t.Errorf("it exits %d after %s with %s%s", got.code, got.took, got.stdout, got.stderr)
	}
}

// TestStop holds that a signal ends the program with one line, from the middle
// of a request; and that no token is among its arguments, its environment or
// those of a child.
func TestStop(t *testing.T) {
	for name, signal := range map[string]os.Signal{"terminated": syscall.SIGTERM, "interrupt": os.Interrupt} {
		cloud, acrs := startCloud(t, "foo.azurecr.io")
		asked := make(chan struct{})
		acrs["foo.azurecr.io"].Fail("/oauth2/exchange", func(x *azuretest.Exchange) bool {
			close(asked)
			return azuretest.Hang()(x)
		})
		process, wait := start(t, cloud, request(mcrImage), fromRoute, "--root="+plant(t, toFoo).root)
		<-asked
		dir := fmt.Sprintf("/proc/%d/", process.Pid)
		if cmdline := read(t, dir+"cmdline"); bytes.Contains(cmdline, []byte(azuretest.Canary)) {
			t.Errorf("the arguments hold a secret: %q", cmdline)
		}
		for pair := range strings.SplitSeq(string(read(t, dir+"environ")), "\x00") {
			if strings.Contains(pair, azuretest.Canary) && !strings.HasPrefix(pair, "IDENTITY_HEADER=") {
				t.Errorf("the environment holds a secret: %q", pair)
			}
		}
		threads, _ := filepath.Glob(dir + "task/*/children")
		for _, thread := range threads {
			if children, err := os.ReadFile(thread); err == nil && len(children) > 0 {
				t.Errorf("it has the children %s", children)
			}
		}
		if err := process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		got := wait()
		if got.code != 1 || !strings.Contains(got.stderr, "registry token exchange: context canceled after ") || !strings.Contains(got.stderr, "(told to stop: "+name) || got.took > 5*time.Second {
			t.Errorf("%s: it exits %d after %s with %s%s", name, got.code, got.took, got.stdout, got.stderr)
		}
	}
}
