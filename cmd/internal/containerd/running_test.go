package containerd

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/clock"
	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// TestFilesChangedAfterStart changes the files of a containerd that does not tell what it reads,
// after it has started and before the first look.
func TestFilesChangedAfterStart(t *testing.T) {
	const (
		dropin = "/etc/containerd/conf.d/a.toml"
		linked = "/opt/containerd/one.toml"
		all    = "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n"
	)
	for name, test := range map[string]struct {
		before func(b box)
		args   []string
		after  func(b box)
		want   string // in the reason, "" if it is armed
	}{
		"nothing": {},
		"edited": {
			after: func(b box) { b.write(mainFile, "version = 3\n"+images+right+"# edited\n") },
			want:  "config.toml: changed after the running containerd (process ",
		},
		"put right": {
			before: func(b box) { b.write(mainFile, "version = 3\n"+images+wrong) },
			after:  func(b box) { b.write(mainFile, "version = 3\n"+images+right) },
			want:   "config.toml: changed after",
		},
		"replaced by an old file": {
			before: func(b box) { b.write("/etc/containerd/new.toml", "version = 3\n"+images+right) },
			after:  func(b box) { b.do(os.Rename(b.path("/etc/containerd/new.toml"), b.path(mainFile))) },
			want:   "config.toml: changed after",
		},
		"times set back": {
			after: func(b box) {
				b.write(mainFile, "version = 3\n"+images+right+"\n")
				b.do(os.Chtimes(b.path(mainFile), time.Unix(1, 0), time.Unix(1, 0)))
			},
			want: "config.toml: changed after",
		},
		"drop-in removed": {
			before: func(b box) { b.write(mainFile, all+images+right); b.write(dropin, "version = 3\n"+images+wrong) },
			after:  func(b box) { b.do(os.Remove(b.path(dropin))) },
			want:   "/etc/containerd/conf.d: changed after",
		},
		"drop-in added": {
			before: func(b box) {
				b.write(mainFile, all+images+right)
				b.do(os.MkdirAll(b.path("/etc/containerd/conf.d"), 0o755))
			},
			after: func(b box) { b.write(dropin, "version = 3\n") },
			want:  "/etc/containerd/conf.d", // itself, or the file in it
		},
		"directory of drop-ins removed": {
			before: func(b box) { b.write(mainFile, all+images+right); b.write(dropin, "version = 3\n"+images+wrong) },
			after:  func(b box) { b.do(os.RemoveAll(b.path("/etc/containerd/conf.d"))) },
			want:   "/etc/containerd: changed after",
		},
		"directory of drop-ins swapped": {
			before: func(b box) {
				b.write(mainFile, all+images+right)
				b.write(dropin, "version = 3\n"+images+wrong)
				b.do(os.MkdirAll(b.path("/etc/containerd/empty.d"), 0o755))
			},
			after: func(b box) {
				b.do(os.Rename(b.path("/etc/containerd/conf.d"), b.path("/etc/containerd/old.d")))
				b.do(os.Rename(b.path("/etc/containerd/empty.d"), b.path("/etc/containerd/conf.d")))
			},
			want: "/etc/containerd/conf.d: changed after",
		},
		"whole directory swapped": {
			before: func(b box) { b.write("/etc/other/config.toml", "version = 3\n"+images+right) },
			after: func(b box) {
				b.do(os.Rename(b.path("/etc/containerd"), b.path("/etc/before")))
				b.do(os.Rename(b.path("/etc/other"), b.path("/etc/containerd")))
			},
			want: "/etc/containerd: changed after",
		},
		"link turned": {
			before: func(b box) {
				b.write(linked, "version = 3\n"+images+wrong)
				b.write("/opt/containerd/two.toml", "version = 3\n"+images+right)
				b.do(os.Remove(b.path(mainFile)))
				b.do(os.Symlink("../../opt/containerd/one.toml", b.path(mainFile)))
			},
			after: func(b box) {
				b.do(os.Remove(b.path(mainFile)))
				b.do(os.Symlink("../../opt/containerd/two.toml", b.path(mainFile)))
			},
			want: "config.toml: changed after",
		},
		"link to a directory turned": {
			before: func(b box) {
				b.write("/opt/one/config.toml", "version = 3\n"+images+wrong)
				b.write("/opt/two/config.toml", "version = 3\n"+images+right)
				b.do(os.RemoveAll(b.path("/etc/containerd")))
				b.do(os.Symlink("../opt/one", b.path("/etc/containerd")))
			},
			after: func(b box) {
				b.do(os.Remove(b.path("/etc/containerd")))
				b.do(os.Symlink("../opt/two", b.path("/etc/containerd")))
			},
			want: "/etc/containerd: changed after",
		},
		"socket touched after an edit": {
			after: func(b box) {
				b.write(mainFile, "version = 3\n"+images+right+"\n")
				time.Sleep(5 * armed.Tick)
				b.do(os.Chmod(b.Wanted.Address, 0o666))
			},
			want: "config.toml: changed after",
		},
		"another file beside it": {
			after: func(b box) { b.write("/etc/containerd/certs.d/docker.io/hosts.toml", "server = 'https://a.b'\n") },
		},
		"another file on its command line": {
			before: func(b box) { b.write("/other.toml", "version = 3\n"+images+wrong) },
			args:   []string{"-c", "/other.toml"},
			want:   `has config_path = "/etc/docker/certs.d"`,
		},
		"the right file on its command line": {
			before: func(b box) { b.write("/other.toml", "version = 3\n"+images+right); b.write(mainFile, "version = 3\n") },
			args:   []string{"--log-level", "debug", "--config=/other.toml"},
		},
		"a relative file on its command line": {
			args: []string{"-c", "no/such.toml"},
			want: "changed after",
		},
		"configuration gone": {
			after: func(b box) { b.do(os.Remove(b.path(mainFile))) },
			want:  "/etc/containerd: changed after",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			if test.before != nil {
				test.before(b)
			}
			b.start("v2.2.9", "", test.args...)
			if test.after != nil {
				time.Sleep(5 * armed.Tick)
				test.after(b)
			}
			b.verdict(test.want)
		})
	}
}

// TestVerdictStaysWhileProcessRuns checks that what one look established holds for as long as the
// process runs, whatever becomes of its files, and no longer.
func TestVerdictStaysWhileProcessRuns(t *testing.T) {
	for name, test := range map[string]struct {
		change func(b box)
		loss   string // in the coming loss; "" for none
	}{
		"touched":    {change: func(b box) { b.do(os.Chtimes(b.path(mainFile), time.Now(), time.Now())) }},
		"commented":  {change: func(b box) { b.write(mainFile, "version = 3\n# more\n"+images+right) }},
		"put wrong":  {change: func(b box) { b.write(mainFile, "version = 3\n"+images+wrong) }, loss: "config.toml"},
		"torn":       {change: func(b box) { b.write(mainFile, "version = 3\n[plug") }, loss: "config.toml:2"},
		"taken away": {change: func(b box) { b.do(os.Remove(b.path(mainFile))) }, loss: "; "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			stop := b.start("v2.2.9", "")
			b.verdict("")
			test.change(b)
			v := b.verdict("")
			if v.Loss.None() != (test.loss == "") || !strings.Contains(v.Loss.Error(), test.loss) {
				t.Errorf("the coming loss is %q; want %q in it", v.Loss.Error(), test.loss)
			}
			stop()
			b.start("v2.2.9", "")
			if test.loss == "" {
				b.verdict("")
			} else {
				b.verdict("; ")
			}
		})
	}
}

// TestDryVerdict checks that a dry run stores nothing.
func TestDryVerdict(t *testing.T) {
	b := newBox(t)
	b.start("v2.2.9", "")
	b.Dry = true
	b.verdict("")
	if entries, err := os.ReadDir(b.path("/run")); err == nil {
		t.Errorf("/run has %v; want nothing", entries)
	}
	b.write(mainFile, "version = 3\n"+images+right+"\n")
	b.verdict("changed after")
}

// TestReportedConfigPath holds the versions that say their config_path themselves.
func TestReportedConfigPath(t *testing.T) {
	const list = tree + ":/etc/docker/certs.d"
	for name, test := range map[string]struct {
		is, tells, file, inMap string
		want, loss             string
	}{
		"1.7":                    {is: "1.7.35", tells: tree, file: "version = 2\n" + oldTable + right},
		"2.4":                    {is: "v2.4.2", tells: tree, file: "version = 3\n" + images + right},
		"with a slash":           {is: "v2.4.2", tells: tree + "/", file: "version = 3\n" + images + right},
		"2.4, another":           {is: "v2.4.2", tells: "/x", file: "version = 3\n" + images + "config_path = '/x'\n", want: `so containerd 2.4.2 does not read "/etc/containerd/certs.d"`},
		"2.4, the list":          {is: "v2.4.2", tells: list, file: "version = 3\n", want: `has config_path = "` + list + `"`},
		"files are right since":  {is: "v2.4.2", tells: "/x", file: "version = 3\n" + images + right, want: `although its configuration says "/etc/containerd/certs.d"; run: systemctl restart containerd`},
		"files are wrong since":  {is: "v2.4.2", tells: tree, file: "version = 3\n" + images + wrong, loss: "config.toml"},
		"1.7 would not start":    {is: "1.7.35", tells: tree, file: "version = 3\n" + images + right, loss: "does not start"},
		"map says another":       {is: "v2.4.2", tells: tree, file: "version = 3\n" + images + right, inMap: "/x", want: `the map has config_path = "/x" under [containerd], but the running containerd`},
		"map cannot override":    {is: "v2.4.2", tells: "/x", file: "version = 3\n" + images + right, inMap: tree, want: `has config_path = "/x"`},
		"1.7 without a CRI":      {is: "1.7.35", tells: containerdtest.NoCRI, file: "version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n" + oldTable + right},
		"1.7, its CRI refuses":   {is: "1.7.35", tells: containerdtest.NoCRI, file: "version = 2\n" + oldTable + right + "[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'x.io']\nendpoint = []\n", want: "config.toml:4"},
		"older than supported":   {is: "1.6.39", tells: tree, file: "version = 2\n" + oldTable + right, want: "older than 1.7"},
		"2.3, which tells not":   {is: "v2.3.7", file: "version = 3\n" + oldTable + right},
		"2.3.4, import too new":  {is: "v2.3.4", file: "version = 2\nimports = ['/etc/containerd/x.toml']\n" + oldTable + right, want: "does not start"},
		"a version of no number": {is: "unknown", file: "version = 3\n" + images + right, want: `"unknown"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.write(mainFile, test.file)
			b.write("/etc/containerd/x.toml", "version = 4\n")
			b.Wanted.ConfigPath = test.inMap
			b.start(test.is, test.tells)
			v := b.verdict(test.want)
			if v.Loss.None() != (test.loss == "") || !strings.Contains(v.Loss.Error(), test.loss) {
				t.Errorf("the coming loss is %q; want %q in it", v.Loss.Error(), test.loss)
			}
		})
	}
}

// TestReasonNames holds that the reason of a containerd that runs has the name that
// the same reason has in its files.
func TestReasonNames(t *testing.T) {
	for want, test := range map[string]struct{ tells, file string }{
		"config-path-unset": {tree + ":/etc/docker/certs.d", "version = 3\n"},
		"config-path-other": {"/x", "version = 3\n" + images + "config_path = '/x'\n"},
		"restart-pending":   {"/x", "version = 3\n" + images + right},
	} {
		t.Run(want, func(t *testing.T) {
			b := newBox(t)
			b.write(mainFile, test.file)
			b.start("v2.4.2", test.tells)
			var f *fault.Fault
			if v := b.verdict("has config_path"); !errors.As(v.NotArmed, &f) || f.Name != want {
				t.Errorf("the reason is %#v; want %s", v.NotArmed, want)
			}
		})
	}
}

// TestRunsWithoutFile checks that the config_path of the map counts for nothing if a
// containerd runs.
func TestRunsWithoutFile(t *testing.T) {
	b := newBox(t)
	b.remove(mainFile)
	b.Wanted.ConfigPath = tree
	stop := b.start("v2.4.2", tree)
	if v := b.verdict(""); !strings.Contains(v.Loss.Error(), "no such file") {
		t.Errorf("the coming loss is %q; want that there is no configuration", v.Loss.Error())
	}
	stop()
	b.start("v2.2.9", "")
	b.verdict("no such file")
}

// TestListenerIsTheNodes checks that only a process of the node's is taken for its
// containerd.
func TestListenerIsTheNodes(t *testing.T) {
	b := newBox(t)
	b.start("v2.4.2", tree)
	real := b.sys.owner
	for owner, want := range map[process.Owner]string{
		process.User: "a rootless containerd is not supported", process.Container: "it is a stranger, so it is unknown", process.Unknown: "it is a stranger, so",
	} {
		b.sys.owner = func(int) (process.Verdict, error) {
			return process.Verdict{Owner: owner, Reason: "it is a stranger"}, nil
		}
		b.verdict(want)
	}
	b.sys.owner = real
	b.sys.proc = t.TempDir()
	b.verdict("which listened there, has just ended; run this again")
}

// TestClock sets the wall clock while a containerd runs that does not tell.
func TestClock(t *testing.T) {
	const hour = time.Hour
	for name, test := range map[string]struct {
		between time.Duration // how far the clock is set between two looks
		unit    func(now clock.Clocks, start time.Duration) (systemd.State, error)
		want    string
		untold  bool
	}{
		"systemd says it was not set": {unit: started(0)},
		"systemd says it was set":     {unit: started(-hour), want: "the wall clock was set after the running containerd (process "},
		"set back":                    {unit: started(hour), want: "the wall clock was set after"},
		"by less than a second":       {unit: started(900 * time.Millisecond), want: "config.toml: changed after"},
		"no systemd":                  {unit: nil, untold: true},
		"set between two looks":       {unit: started(0), between: hour, want: "the wall clock was set after"},
		"set back between two looks":  {unit: started(0), between: -hour, want: "the wall clock was set after"},
		"nudged between two looks":    {unit: started(0), between: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.start("v2.2.9", "")
			shift := time.Duration(0)
			real := b.sys.now
			b.sys.now = func() (clock.Clocks, error) {
				c, err := real()
				c.Wall = c.Wall.Add(shift)
				return c, err
			}
			b.sys.unit = func(context.Context, string) (systemd.State, error) {
				now, err := real()
				b.do(err)
				r, err := b.query(t.Context())
				b.do(err)
				if test.unit == nil {
					return systemd.State{}, os.ErrNotExist
				}
				return test.unit(now, r.process.Start)
			}
			b.sys.unitOf = func([]byte) string { return "containerd.service" }
			if test.between != 0 {
				now, err := b.sys.now()
				b.do(err)
				h, _ := clock.History{}.Next(now)
				b.do(h.Store(b.tree(), b.path(clock.File)))
				shift = test.between
			}
			v := b.verdict(test.want)
			if test.want == "" && v.Version != "v2.2.9" {
				t.Errorf("the version is %q; want that of the one that runs", v.Version)
			}
			if test.untold != (len(v.Warnings) == 1) {
				t.Errorf("the warnings are %v; want one %t", v.Warnings, test.untold)
			}
		})
	}
}

// started returns what systemd reports for a unit whose process started when the
// wall clock was ahead of what it is now by that much.
func started(ahead time.Duration) func(now clock.Clocks, start time.Duration) (systemd.State, error) {
	return func(now clock.Clocks, start time.Duration) (systemd.State, error) {
		mono := start - (now.Up - now.Mono)
		return systemd.State{Started: mono, StartedAt: now.Wall.Add(mono - now.Mono + ahead)}, nil
	}
}

// TestNextStart tells a containerd that will read the tree when it is started
// again from one that will not.
func TestNextStart(t *testing.T) {
	for text, want := range map[string]bool{right: true, wrong: false} {
		b := newBox(t)
		b.write(mainFile, "version = 3\n"+images+wrong)
		b.start("v2.2.9", "")
		time.Sleep(5 * armed.Tick)
		b.write(mainFile, "version = 3\n"+images+text)
		if v := b.verdict("changed after"); v.Next != want {
			t.Errorf("with %q for its next start: %t; want %t", text, v.Next, want)
		}
	}
}

// TestNoAnswer checks what is said about a socket on which no containerd answers.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve func(net.Listener)
		want  string
	}{
		"nothing answers": {func(net.Listener) {}, "does not answer; if it is containerd, see \"journalctl -u containerd\""},
		"another program": {func(l net.Listener) { grpc.NewServer().Serve(l) }, "name containerd's socket by address under [containerd] in the map"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			l, err := net.Listen("unix", b.Wanted.Address)
			b.do(err)
			t.Cleanup(func() { l.Close() })
			go test.serve(l)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err = b.query(ctx)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "rpc error") {
				t.Errorf("ask = %v; want %q", err, test.want)
			}
		})
	}
}
