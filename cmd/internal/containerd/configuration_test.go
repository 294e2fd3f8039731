package containerd

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
)

// TestConfigurations holds files that used to be judged wrongly, and their
// neighbours, by each version that reads them otherwise. The rules themselves
// are tested where they are, in hosts/containerdconfig.
func TestConfigurations(t *testing.T) {
	const (
		all     = "imports = ['/etc/containerd/conf.d/*.toml']\n"
		dropin  = "/etc/containerd/conf.d/a.toml"
		runtime = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]\nruntime_type = 'io.containerd.runc.v2'\n"
		auth    = "[plugins.'io.containerd.grpc.v1.cri'.registry.configs.'x'.auth]\nusername = 'u'\n"
		no      = "config.toml" // in a reason
	)
	for name, test := range map[string]struct {
		main, dropin, another string
		want                  map[string]string // by version; "" is armed
	}{
		"an import of version 3 kills the old table": {
			main: "version = 2\n" + all + oldTable + right, dropin: "version = 3\n" + runtime,
			want: map[string]string{"1.7": "a.toml", "2.0": "a.toml", "2.1": "a.toml", "2.2": "a.toml", "2.3": "", "2.4": ""},
		},
		"an import empties it": {
			main: "version = 3\n" + all + images + right, dropin: "version = 3\n" + images + "config_path = ''\n",
			want: map[string]string{"2.0": "a.toml:3", "2.2": "a.toml:3", "2.3": "a.toml:3", "2.4": "a.toml:3"},
		},
		"the old table replaces the new one": {
			main: "version = 3\n" + images + right + auth,
			want: map[string]string{"2.0": "", "2.2": "", "2.3": no, "2.4": no},
		},
		"1.7 reads version 2 because of an import": {
			main: "version = 3\n" + all + images + right, dropin: "version = 2\n[debug]\nlevel = 'info'\n",
			want: map[string]string{"1.7": no, "2.0": "", "2.4": ""},
		},
		"a new table in version 2": {
			main: "version = 2\n" + images + right,
			want: map[string]string{"1.7": no, "2.0": "", "2.2": "", "2.4": ""},
		},
		"an old table in version 3": {
			main: "version = 3\n" + oldTable + right,
			want: map[string]string{"1.7": "does not start", "2.0": no, "2.2": no, "2.3": "", "2.4": ""},
		},
		"an import that is not there": {
			main: "version = 2\nimports = ['gone.toml']\n" + oldTable + right,
			want: map[string]string{"1.7": "does not start", "2.2": "does not start", "2.4": "does not start", "": "does not start"},
		},
		"a name with brackets is not a pattern": {
			main: "version = 2\nimports = ['x[1].toml']\n" + oldTable + right, another: "version = 2\n" + oldTable + wrong,
			want: map[string]string{"1.7": "x[1].toml:2", "2.2": "x[1].toml:3", "2.4": "x[1].toml:3"},
		},
		"a version that no containerd reads": {
			main: "version = 2\n" + all + oldTable + right, dropin: "version = 5\n",
			want: map[string]string{"1.7": "does not start", "2.2": "does not start", "2.4": "does not start", "": "does not start"},
		},
		"version 4 below 2": {
			main: "version = 2\n" + all + oldTable + right, dropin: "version = 4\n[debug]\nlevel = 'info'\n",
			want: map[string]string{"2.2": "does not start", "2.3.4": "does not start", "2.3.7": "", "2.4": ""},
		},
		"mirrors in a file that is overridden": {
			main:   "version = 2\n" + all + oldTable + right + "[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'x.io']\nendpoint = []\n",
			dropin: "version = 2\n" + oldTable + right,
			want:   map[string]string{"1.7": "", "2.2": "mirrors"},
		},
		"no version": {
			main: "[plugins.cri.registry]\n" + right,
			want: map[string]string{"1.7": "", "2.0": no, "2.2": no, "2.3": "", "2.4": "", "": no},
		},
	} {
		for version, want := range test.want {
			t.Run(fmt.Sprintf("%s/%s", name, version), func(t *testing.T) {
				b := newBox(t)
				b.Offline, b.Wanted.Version = true, version
				b.write(mainFile, test.main)
				if test.dropin != "" {
					b.write(dropin, test.dropin)
				}
				b.write("/etc/containerd/x[1].toml", test.another)
				v := b.verdict(want)
				if want != "" && v.NotArmed != nil && !strings.Contains(v.NotArmed.Error(), b.path("/etc/containerd")) {
					t.Errorf("the reason %q names no file", v.NotArmed)
				}
			})
		}
	}
}

// TestConfigPathOfMap holds the config_path of the map, which counts only if there is no
// configuration.
func TestConfigPathOfMap(t *testing.T) {
	for name, test := range map[string]struct{ file, says, want string }{
		"no configuration":             {says: tree},
		"no configuration, another":    {says: "/x", want: `the map sets config_path = "/x"`},
		"no configuration, says not":   {want: "no such file"},
		"it is as the files say":       {file: "version = 3\n" + images + right, says: tree + "/"},
		"the files say another":        {file: "version = 3\n" + images + wrong, says: tree, want: "config.toml:3"},
		"the map says another":         {file: "version = 3\n" + images + right, says: "/x", want: `config.toml:3 has "/etc/containerd/certs.d"`},
		"an empty file is one as well": {file: "version = 3\n", says: tree, want: "config.toml"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.Offline, b.Wanted.ConfigPath = true, test.says
			if test.file == "" {
				b.remove(mainFile)
			} else {
				b.write(mainFile, test.file)
			}
			b.verdict(test.want)
		})
	}
}

// TestDisabled checks that a CRI which is disabled is a warning, and one that does
// not load for another reason is not armed.
func TestDisabled(t *testing.T) {
	const disabled = "disabled_plugins = ['io.containerd.grpc.v1.cri']\n"
	b := newBox(t)
	b.Offline = true
	for _, version := range []string{"", "1.7", "2.2", "2.4"} {
		b.Wanted.Version = version
		b.write(mainFile, "version = 2\n"+disabled+oldTable+right)
		if v := b.verdict(""); len(v.Warnings) != 1 || v.Warnings[0].Name != doctor.CRIDisabled || v.Warnings[0].Where != b.path(mainFile)+":2" {
			t.Errorf("%q: the warnings are %v; want one of %s:2", version, v.Warnings, mainFile)
		}
		b.write(mainFile, "version = 2\n"+disabled+oldTable+wrong)
		b.verdict(mainFile)
		b.write(mainFile, "version = 2\n"+disabled+oldTable+right+"[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'x.io']\nendpoint = []\n")
		b.verdict(mainFile)
	}
}

// TestPipe checks that a FIFO among the imports is named at once.
func TestPipe(t *testing.T) {
	b := newBox(t)
	b.Offline = true
	b.write(mainFile, "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n"+images+right)
	b.write("/etc/containerd/conf.d/b.toml", "version = 3\n")
	b.do(syscall.Mkfifo(b.path("/etc/containerd/conf.d/a.toml"), 0o600))
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.verdict("a.toml")
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the look waits for the FIFO")
	}
}
