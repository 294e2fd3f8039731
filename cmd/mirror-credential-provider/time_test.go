//go:build linux

package main_test

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A world is a stand-in with all that can keep a run waiting, and a node.
type world struct {
	*azuretest.Cloud
	foo     *azuretest.ACR
	binding *azuretest.Binding
	manager *azuretest.Component
	node    tree
}

// TestTimeout checks that whatever does not answer is given up in time, and
// named with the time that it took.
func TestTimeout(t *testing.T) {
	const (
		other   = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"harbor.corp\"]\n[registry.\"harbor.corp\"]\ncredential = \"other\"\n[credential.other]\n"
		exec    = other + "kind = \"exec\"\ncommand = \"/other\"\n"
		config  = other + "kind = \"docker-config\"\npath = \"/config.json\"\n"
		private = `{"cloud":"AzureCorp","tenantId":"` + tenant + `","useManagedIdentityExtension":true,"resourceManagerEndpoint":"https://management.cloud.corp/"}`
		sleeps  = "#!/bin/sh\nexec sleep 60\n"
	)
	hang := azuretest.Hang()
	for name, c := range map[string]struct {
		way   string // "" for both
		text  string // of the map; "" for one to foo.azurecr.io
		stdin string // "" for a mirrored image
		hang  func(*testing.T, world)
		want  string
	}{
		"managed identity": {"", "", "", func(_ *testing.T, w world) { w.Identity.Fail("", hang) }, "managed identity: no answer from 127.0.0.1 within "},
		"service principal": {"", "", "", func(t *testing.T, w world) {
			w.Entra.Fail("", hang)
			writeFile(t, w.node.root, mirror.DefaultAzureConfig, configs["principal"])
		}, "service principal: no answer from login.microsoftonline.com within "},
		"proxy":     {"", "", "", func(_ *testing.T, w world) { w.Proxy.Fail("", hang) }, "registry challenge: no answer from foo.azurecr.io within "},
		"challenge": {"", "", "", func(_ *testing.T, w world) { w.foo.Fail("/v2/", hang) }, "registry challenge: no answer from foo.azurecr.io within "},
		"exchange":  {"", "", "", func(_ *testing.T, w world) { w.foo.Fail(exchange, hang) }, "registry token exchange: no answer from foo.azurecr.io within "},
		"pod":       {"", "", ofPod("foo.azurecr.io/x", podBoth), func(_ *testing.T, w world) { w.Entra.Fail("", hang) }, "workload identity: no answer from login.microsoftonline.com within "},
		"binding":   {"", "", ofPod("foo.azurecr.io/x", podClient), func(_ *testing.T, w world) { w.binding.Fail("", hang) }, "identity binding: no answer from binding.oic.example at 127.0.0.1:"},
		"resource manager": {"flags", "", request("foo.azurecr.cloud.corp/x"), func(t *testing.T, w world) {
			w.manager.Fail("", hang)
			writeFile(t, w.node.root, mirror.DefaultAzureConfig, private)
		}, "resource manager: no answer from management.cloud.corp within "},
		"exec": {"routes", exec, "", func(t *testing.T, w world) { writeProgram(t, w.node.root, "/other", sleeps) }, `/other" gave no answer in `},
		"credential helper": {"routes", config, "", func(t *testing.T, w world) {
			writeProgram(t, w.node.root, "/config.json", `{"credHelpers":{"harbor.corp":"slow"}}`)
			if err := os.Chmod(filepath.Join(w.node.root, "/config.json"), 0o600); err != nil {
				t.Fatal(err)
			}
			writeProgram(t, w.node.root, "/bin/docker-credential-slow", sleeps)
		}, `docker-credential-slow" gave no answer in `},
	} {
		for way, args := range ways {
			if c.way != "" && c.way != way {
				continue
			}
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				w := startWorld(t, cmp.Or(c.text, toFoo))
				c.hang(t, w)
				args := append([]string{"--root=" + w.node.root, "--timeout=3s"}, args...)
				if name == "binding" {
					writeFile(t, w.node.root, "/ca.crt", string(w.binding.CA))
					args = append(args, "--ib-sni-name="+bindingName, "--ib-apiserver-ip="+w.binding.Address, "--ib-ca=/ca.crt")
				}
				cmd := command(t, w.Cloud, names[0], args...)
				cmd.Env = append(cmd.Env, "PATH="+filepath.Join(w.node.root, "bin")+":"+os.Getenv("PATH"))
				got := finish(t, cmd, cmp.Or(c.stdin, request(mcrImage)))
				if got.code != 1 || !strings.Contains(got.stderr, c.want) || !strings.Contains(got.stderr, "by --timeout=3s)\n") {
					t.Errorf("it exits %d with %s%s; want %s", got.code, got.answer(), got.stderr, c.want)
				}
				if _, rest, _ := strings.Cut(got.stderr, c.want); !tookText.MatchString(rest) {
					t.Errorf("how long it took is not said: %s", got.stderr)
				}
				if got.took < 3*time.Second || got.took > 20*time.Second {
					t.Errorf("it took %s", got.took)
				}
				if events := readEvents(t, w.node); len(events) != 1 || events[0].Outcome != audit.Failed || !strings.Contains(events[0].Reason, c.want) {
					t.Errorf("the log has %+v", events)
				}
			})
		}
	}
}

var tookText = regexp.MustCompile(`^([0-9]+ within )?[0-9.]+m?s\b`)

func startWorld(t *testing.T, text string) world {
	t.Helper()
	cloud, foo, binding := startPodCloud(t)
	manager, err := cloud.AddResourceManager("management.cloud.corp")
	if err != nil {
		t.Fatal(err)
	}
	return world{cloud, foo, binding, manager, plant(t, text)}
}

func writeProgram(t *testing.T, root, name, text string) {
	t.Helper()
	if err := os.Chmod(writeFile(t, root, name, text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestRetryAfter checks that a server which asks to be left alone for a while is
// left alone, if the run has that while.
func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		azure, path string
		who         func(world) *azuretest.Component
	}{
		"challenge":         {"managed", "/v2/", func(w world) *azuretest.Component { return w.foo.Component }},
		"exchange":          {"managed", exchange, func(w world) *azuretest.Component { return w.foo.Component }},
		"managed identity":  {"managed", "", func(w world) *azuretest.Component { return w.Identity }},
		"service principal": {"principal", signIn, func(w world) *azuretest.Component { return w.Entra }},
	} {
		for way, args := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				w := startWorld(t, toFoo)
				writeFile(t, w.node.root, mirror.DefaultAzureConfig, configs[c.azure])
				args := append([]string{"--root=" + w.node.root}, args...)
				c.who(w).Fail(c.path, azuretest.Times(1, azuretest.Throttle(1)))
				if got := run(t, w.Cloud, names[0], request(mcrImage), args...); got.code != 0 || got.took < time.Second {
					t.Errorf("with a second to wait, it exits %d after %s with %s", got.code, got.took, got.stderr)
				}
				if err := os.RemoveAll(w.node.tokens()); err != nil {
					t.Fatal(err)
				}
				c.who(w).Fail(c.path, azuretest.Throttle(9))
				got := run(t, w.Cloud, names[0], request(mcrImage), append(args, "--timeout=8s")...)
				if want := `status 429, with Retry-After "9"; try again later`; got.code != 1 || !strings.Contains(got.stderr, want) || !strings.Contains(got.stderr, name) || got.took > 8*time.Second {
					t.Errorf("with more to wait than there is, it exits %d after %s with %s; want %s", got.code, got.took, got.stderr, want)
				}
			})
		}
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

// TestOpenStdin checks that a request which never ends is given up.
func TestOpenStdin(t *testing.T) {
	cloud, _ := startCloud(t)
	_, wait := start(t, cloud, "", "/nonesuch/azure.json", "--timeout=300ms")
	got := wait()
	if got.code != 1 || !strings.Contains(got.stderr, "waited for standard input to end; ") || got.took > 5*time.Second {
		t.Errorf("it exits %d after %s with %s%s", got.code, got.took, got.stdout, got.stderr)
	}
}

// TestStop checks that a signal ends the program with one line, from the middle
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
		n := plant(t, toFoo)
		process, wait := start(t, cloud, request(mcrImage), fromRoute, "--root="+n.root)
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
		if events := readEvents(t, n); len(events) != 1 || events[0].Code != audit.Stopped {
			t.Errorf("%s: the log has %+v; want one event with the code %q", name, events, audit.Stopped)
		}
	}
}

// TestProxy checks that registries and Entra ID are asked through the proxy that
// the environment names, and the metadata service and the cluster's binding
// never are. 0.0.0.0 is this machine, and is not a loopback address to net/http,
// which asks those without a proxy whatever the environment says.
func TestProxy(t *testing.T) {
	for name, c := range map[string]struct{ azure, stdin, want string }{
		"metadata service":  {"managed", request("foo.azurecr.io/x"), "[CONNECT foo.azurecr.io:443]"},
		"service principal": {"principal", request(mcrImage), "[CONNECT foo.azurecr.io:443 CONNECT login.microsoftonline.com:443]"},
		"binding":           {"managed", ofPod("foo.azurecr.io/x", podClient), "[CONNECT foo.azurecr.io:443]"},
	} {
		for way, args := range ways {
			w := startWorld(t, toFoo)
			writeFile(t, w.node.root, mirror.DefaultAzureConfig, configs[c.azure])
			args := append([]string{"--root=" + w.node.root}, args...)
			if name == "binding" {
				writeFile(t, w.node.root, "/ca.crt", string(w.binding.CA))
				args = append(args, "--ib-sni-name="+bindingName, "--ib-ca=/ca.crt",
					"--ib-apiserver-ip="+strings.Replace(w.binding.Address, "127.0.0.1", "0.0.0.0", 1))
			}
			cmd := command(t, w.Cloud, names[0], args...)
			for i, pair := range cmd.Env {
				if strings.HasPrefix(pair, "IDENTITY_ENDPOINT=") {
					cmd.Env[i] = strings.Replace(pair, "127.0.0.1", "0.0.0.0", 1)
				}
			}
			got := finish(t, cmd, c.stdin)
			if got.code != 0 || got.stderr != "" {
				t.Errorf("%s/%s exits %d with %s", name, way, got.code, got.stderr)
			}
			var asked []string
			for _, r := range w.Proxy.Requests() {
				asked = append(asked, r.Method+" "+r.URL)
			}
			if slices.Sort(asked); fmt.Sprint(slices.Compact(asked)) != c.want {
				t.Errorf("%s/%s: the proxy is asked %v; want %s", name, way, asked, c.want)
			}
			if n := len(w.Identity.Requests()) + len(w.Entra.Requests()) + len(w.binding.Requests()); n == 0 {
				t.Errorf("%s/%s: no host is asked for a token", name, way)
			}
		}
	}
}
