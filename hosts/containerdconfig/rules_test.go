package containerdconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

const (
	oHeader = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
	nHeader = "[plugins.\"io.containerd.cri.v1.images\".registry]\n"
	setsC   = "config_path = \"" + dirC + "\"\n"
	imports = "imports = [\"conf.d/*.toml\"]\n"
)

func version(t testing.TB, s string) Version {
	t.Helper()
	v, err := ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSet holds the place that sets config_path.
func TestSet(t *testing.T) {
	files := memory{
		main:                             "version = 2\n" + imports + "\n" + oHeader + setsC,
		"/etc/containerd/conf.d/a.toml":  "version = 2\n[plugins]\n  [plugins.'io.containerd.grpc.v1.cri']\n    [plugins.'io.containerd.grpc.v1.cri'.registry]\n      config_path = '" + dirX + "'\n",
		"/etc/containerd/conf.d/b.other": oHeader + setsC,
	}
	want := Position{"/etc/containerd/conf.d/a.toml", 5, `plugins."io.containerd.grpc.v1.cri".registry`}
	for _, v := range Lines() {
		c, err := Effective(files, main, v)
		if err != nil || c.ConfigPath != dirX || c.Set != want {
			t.Errorf("%s: %q set by %+v, %v; want %+v", v.Release(), c.ConfigPath, c.Set, err, want)
		}
		read := []Input{{Path: main}, {Path: "/etc/containerd/conf.d/*.toml", Pattern: true}, {Path: "/etc/containerd/conf.d/a.toml"}}
		if !slices.Equal(c.Read, read) {
			t.Errorf("%s: read %+v; want %+v", v.Release(), c.Read, read)
		}
	}
}

// TestReadOfNoStart checks that the files are named even if containerd does not
// start with them: they are what to watch.
func TestReadOfNoStart(t *testing.T) {
	files := memory{main: "version = 2\nimports = [\"gone.toml\"]\n" + oHeader + setsC}
	for _, v := range Lines() {
		c, err := Effective(files, main, v)
		var start *StartError
		if !errors.As(err, &start) || start.File != main || start.Line != 2 {
			t.Errorf("%s: error %v; want a StartError of %s:2", v.Release(), err, main)
		}
		want := []Input{{Path: main}, {Path: "/etc/containerd/gone.toml", Missing: true}}
		if !slices.Equal(c.Read, want) {
			t.Errorf("%s: read %+v; want %+v", v.Release(), c.Read, want)
		}
	}
}

func TestMissingMain(t *testing.T) {
	c, err := Effective(memory{}, main, version(t, "2.0"))
	if want := []Input{{Path: main, Missing: true}}; err != nil || c.ConfigPath != "" || !slices.Equal(c.Read, want) {
		t.Errorf("Effective of no file = %+v, %v", c, err)
	}
}

// unreadable is Files of which one fails.
type unreadable struct {
	memory
	name string
}

func (u unreadable) ReadFile(name string) ([]byte, error) {
	if name == u.name {
		return nil, fs.ErrPermission
	}
	return u.memory.ReadFile(name)
}

func TestUnreadable(t *testing.T) {
	files := memory{main: imports, "/etc/containerd/conf.d/a.toml": ""}
	for _, name := range []string{main, "/etc/containerd/conf.d/a.toml"} {
		_, err := Effective(unreadable{files, name}, main, version(t, "2.2"))
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name) {
			t.Errorf("with an unreadable %s: error %v", name, err)
		}
	}
}

// TestSingle holds rules that one main file shows. wants are by line; "" stands
// for the lines that are not named.
func TestSingle(t *testing.T) {
	both := oHeader + setsC
	for name, test := range map[string]struct {
		file  string
		wants map[string]string
	}{
		"a trailing slash is the same directory":                   {"version = 2\n" + oHeader + "config_path = \"" + dirC + "/\"\n", map[string]string{"": "reads"}},
		"a list with the directory is not":                         {"version = 2\n" + oHeader + "config_path = \"" + dirC + ":" + dirX + "\"\n", map[string]string{"": "other"}},
		"an empty part of a list is the working one":               {"version = 2\n" + oHeader + "config_path = \"" + dirC + ":\"\n", map[string]string{"": "other"}},
		"no default runtime":                                       {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"kata\"\n", map[string]string{"": "no CRI"}},
		"runtimes without runc":                                    {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\nruntime_type = \"x\"\n", map[string]string{"": "reads", "1.7": "no CRI"}},
		"the CRI is required and has mirrors":                      {"version = 2\nrequired_plugins = [\"io.containerd.grpc.v1.cri\"]\n" + both + "mirrors = {x = {endpoint = [\"https://x\"]}}\n", map[string]string{"": "no start"}},
		"the CRI is required":                                      {"version = 2\nrequired_plugins = [\"io.containerd.grpc.v1.cri\"]\n" + both, map[string]string{"": "reads"}},
		"a negative version":                                       {"version = -1\n" + both, map[string]string{"": "no start", "1.7": "reads"}},
		"version 0 is invalid":                                     {"version = 0\n" + nHeader + setsC, map[string]string{"": "reads", "1.7": "other"}},
		"two names of one plugin, in an early file":                {both + "[plugins.cri.registry]\nconfig_path = \"" + dirX + "\"\n", map[string]string{"": "other"}},
		"a number for endpoint of mirrors":                         {"version = 2\n" + both + "mirrors = {x = {endpoint = 3}}\n", map[string]string{"": "no start"}},
		"auths that are not URLs":                                  {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".registry.auths.\":\"]\nusername = \"u\"\n", map[string]string{"": "no CRI"}},
		"an invalid pull timeout":                                  {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\"]\nimage_pull_progress_timeout = \"soon\"\n", map[string]string{"": "no CRI"}},
		"containerd of O is a list":                                {"version = 2\n" + both + "[[plugins.\"io.containerd.grpc.v1.cri\".containerd]]\nsnapshotter = \"x\"\n", map[string]string{"": "no start"}},
		"a runtime with an invalid io_type":                        {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nio_type = \"pipe\"\n", map[string]string{"": "no CRI", "1.7": "reads"}},
		"all devices without privileged ones":                      {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nprivileged_without_host_devices_all_devices_allowed = true\n", map[string]string{"": "no CRI"}},
		"an invalid drain timeout":                                 {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\"]\ndrain_exec_sync_io_timeout = \"soon\"\n", map[string]string{"": "no CRI"}},
		"a stats period of the runtime plugin":                     {"version = 3\n" + nHeader + setsC + "[plugins.\"io.containerd.cri.v1.runtime\"]\nstats_collect_period = \"soon\"\n", map[string]string{"": "reads", "1.7": "no start", "2.3": "no CRI", "2.4": "no CRI"}},
		"cni is a string":                                          {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\"]\ncni = \"bridge\"\n", map[string]string{"": "reads", "1.7": "no start", "2.0": "no start"}},
		"a number for bin_dir":                                     {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = 1\n", map[string]string{"": "no start"}},
		"bin_dir becomes a list":                                   {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/a\"\n[plugins.\"io.containerd.cri.v1.runtime\".cni]\nbin_dirs = [\"/b\"]\n", map[string]string{"": "reads"}},
		"bin_dir beside bin_dirs":                                  {"version = 3\n" + nHeader + setsC + "[plugins.\"io.containerd.cri.v1.runtime\".cni]\nbin_dir = \"/a\"\nbin_dirs = [\"/b\"]\n", map[string]string{"": "no CRI", "1.7": "no start", "2.0": "reads", "2.4": "reads"}},
		"a string for a setting that came with 2.1":                {"version = 3\n" + nHeader + setsC + "[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = \"yes\"\n", map[string]string{"": "no start", "2.0": "reads"}},
		"a number for the snapshotter, no runtimes":                {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = 1\n", map[string]string{"": "reads", "1.7": "no start"}},
		"a number for the snapshotter, and runtimes":               {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = 1\nruntimes = {}\n", map[string]string{"": "no start"}},
		"a runtime beside the table for it":                        {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\"]\ndefault_runtime_name = \"kata\"\n", map[string]string{"": "reads", "1.7": "no CRI"}},
		"a runtime beside the table that has another":              {"version = 2\n" + both + "[plugins.\"io.containerd.grpc.v1.cri\"]\ndefault_runtime_name = \"kata\"\ncontainerd = {}\n", map[string]string{"": "reads"}},
		"a key of a value, by two spellings":                       {"plugins.x.y = 3\n[PLUGINS.x.y]\nz = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "no start", "1.7": "other", "2.4": "reads"}},
		"a table below a value, by two spellings":                  {"plugins = {x = {y = 3}}\n[PLUGINS.x.y.z]\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "no start", "1.7": "other", "2.4": "reads"}},
		"a dotted key through a value, by two spellings":           {"plugins.x.y = 3\nPLUGINS.x.y.z = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "reads", "1.7": "other"}},
		"a value over a table, by two spellings":                   {"plugins.x.y.z = 3\nPLUGINS.x.y = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "reads", "1.7": "other"}},
		"an empty table over a value, by two spellings":            {"plugins.x.y = 3\n[PLUGINS.x.y]\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "reads", "1.7": "other"}},
		"an empty table over a value of the CRI, by two spellings": {"plugins.\"io.containerd.cri.v1.images\".registry = 3\n[PLUGINS.\"io.containerd.cri.v1.images\".registry]\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "no start", "1.7": "other", "2.4": "reads"}},
		"a key of an empty list, by two spellings":                 {"plugins.x.y = []\n[PLUGINS.x.y]\nz = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "no start", "1.7": "other", "2.4": "reads"}},
		"a key of a list of tables, by two spellings":              {"plugins.x.y = [{a = 1}]\n[PLUGINS.x.y]\nz = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "reads", "1.7": "other"}},
		"a list over a list, by two spellings":                     {"plugins.x.y = [{a = 1}]\n[[PLUGINS.x.y]]\nz = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "no start", "1.7": "other", "2.4": "reads"}},
		"a list over a table, by two spellings":                    {"[plugins.x.y.z]\na = 1\n[[PLUGINS.x.y]]\nz = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "no start", "1.7": "other", "2.4": "reads"}},
		"a table over a list, by two spellings":                    {"[[plugins.x.y]]\na = 1\n[PLUGINS.x.y]\nz = 1\n[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC, map[string]string{"": "reads", "1.7": "other"}},
		"an empty table for a string":                              {"version = 3\n" + nHeader + setsC + "[root]\n[debug.level] # x\n", map[string]string{"": "reads", "1.7": "no start", "2.4": "no start"}},
		"an empty table for the version":                           {nHeader + setsC + "[version]\n", map[string]string{"": "reads", "1.7": "no start", "2.4": "no start"}},
		"a table for a string":                                     {"version = 3\n" + nHeader + setsC + "[root]\nx = 1\n", map[string]string{"": "no start"}},
		"an empty table below a string":                            {"version = 3\n" + nHeader + setsC + "[root.x]\n", map[string]string{"": "no start"}},
		"an empty table for a timeout":                             {"version = 3\n" + nHeader + setsC + "[timeouts.x]\n", map[string]string{"": "no start"}},
		"an empty table for the type of a proxy":                   {"version = 3\n" + nHeader + setsC + "[proxy_plugins.x.type]\n", map[string]string{"": "reads", "1.7": "no start", "2.4": "no start"}},
		"an empty table for the capabilities of one":               {"version = 3\n" + nHeader + setsC + "[proxy_plugins.x.capabilities]\n", map[string]string{"": "no start"}},
		"an empty table over config_path, by two spellings":        {"[Plugins.\"io.containerd.cri.v1.images\".registry]\n" + setsC + "[plugins.\"io.containerd.cri.v1.images\".registry.config_path]\n", map[string]string{"": "reads", "1.7": "other", "2.4": "no start"}},
		"a table twice, once empty":                                {"version = 3\n" + nHeader + setsC + "[debug]\n[debug]\nlevel = \"info\"\n", map[string]string{"": "no start"}},
		"an empty table for a list":                                {"version = 3\n" + nHeader + setsC + "[imports]\n", map[string]string{"": "no start"}},
		"an empty table for a list that is there":                  {"version = 3\nImports = [\"x/*\"]\n" + nHeader + setsC + "[imports]\n", map[string]string{"": "reads", "1.7": "no start", "2.4": "no start"}},
		"an invalid pattern":                                       {"version = 2\nimports = [\"[*.toml\"]\n" + both, map[string]string{"": "no start"}},
		"values that nest without end":                             {"version = 2\nx = " + strings.Repeat("[", 1<<17), map[string]string{"": "no start"}},
		"keys that nest without end":                               {"version = 2\n" + strings.Repeat("a.", 1<<17) + "a = 1\n", map[string]string{"": "no start"}},
		"dots in a long string are not nesting of keys":            {"version = 2\n# " + strings.Repeat(".", 1000) + "\n" + both, map[string]string{"": "reads"}},
	} {
		for _, v := range Lines() {
			want, ok := test.wants[v.String()]
			if !ok {
				want = test.wants[""]
			}
			c, err := Effective(memory{main: test.file}, main, v)
			got := "reads"
			switch {
			case err != nil:
				got = "no start"
			case c.NoCRI != nil:
				got = "no CRI"
			case c.NotReading(dirC) != nil:
				got = "other"
			}
			if got != want {
				t.Errorf("%s: %s: %s; want %s (%q, error %.200v)", name, v.Release(), got, want, c.ConfigPath, err)
			}
		}
	}
}

// TestDates checks that containerd 2 does not survive a date that is merged with
// another kind of value, and that equal kinds are fine.
func TestDates(t *testing.T) {
	for in, starts := range map[string]bool{"1979-05-27": true, "07:32:00": false, "1979-05-27T07:32:00": false, "\"x\"": true, "{a = 1}": false} {
		files := memory{
			main:                            "version = 3\n" + imports + nHeader + setsC + "[plugins.x]\nwhen = 1979-05-27\n",
			"/etc/containerd/conf.d/a.toml": "version = 3\n[plugins.x]\nwhen = " + in + "\n",
		}
		if _, err := Effective(files, main, version(t, "2.3")); (err == nil) != starts {
			t.Errorf("a date and then %s: %v", in, err)
		}
	}
}

// TestRootVersion checks that up to 2.3.4 an import may not name a higher version
// than the first file that names one.
func TestRootVersion(t *testing.T) {
	files := memory{main: "version = 3\n" + imports + nHeader + setsC, "/etc/containerd/conf.d/a.toml": "version = 4\n"}
	for v, starts := range map[string]bool{"2.3.0": false, "2.3.4": false, "2.3.5": true, "2.3": true, "2.4.0": true} {
		if _, err := Effective(files, main, version(t, v)); (err == nil) != starts {
			t.Errorf("%s: version 3 imports 4: %v", v, err)
		}
	}
}

// TestEmptyOld checks that the first releases of 2.2 put the default list where an
// empty string is moved from the old table, and nowhere else.
func TestEmptyOld(t *testing.T) {
	for header, want := range map[string]string{oHeader: defaultList, nHeader: ""} {
		files := memory{main: "version = 2\n" + header + "config_path = \"\"\n"}
		for _, v := range []string{"2.2.0", "2.2.1"} {
			if c, err := Effective(files, main, version(t, v)); err != nil || c.ConfigPath != want {
				t.Errorf("%s with an empty string below %s: %q, %v; want %q", v, header, c.ConfigPath, err, want)
			}
		}
	}
}

// TestEndlessImports checks that imports which go on end.
func TestEndlessImports(t *testing.T) {
	if _, err := Effective(endless{}, main, version(t, "2.2")); err == nil || !strings.Contains(err.Error(), "1000 files") {
		t.Errorf("endless imports: %v", err)
	}
}

type endless struct{}

func (endless) ReadFile(string) ([]byte, error) {
	return []byte("imports = [\"l/config.toml\"]\n"), nil
}
func (endless) Glob(string) ([]string, error) { return nil, nil }

// FuzzEffective checks that no configuration panics, that the same files give the
// same answer, and that each repair repairs.
func FuzzEffective(f *testing.F) {
	for _, e := range readExamples(f) {
		f.Add([]byte(e.files[main]), []byte(e.files["/etc/containerd/conf.d/a.toml"]), uint8(len(e.name)))
	}
	f.Fuzz(func(t *testing.T, first, second []byte, line uint8) {
		v := Lines()[int(line)%len(Lines())]
		files := memory{main: string(first), "/etc/containerd/conf.d/a.toml": string(second)}
		c, err := Effective(files, main, v)
		again, errAgain := Effective(files, main, v)
		if (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("Effective: %v, and then %v", err, errAgain)
		}
		if err != nil {
			return
		}
		r, rAgain := c.NotReading(dirC), again.NotReading(dirC)
		if (r == nil) != (rAgain == nil) || r != nil && *r != *rAgain {
			t.Fatalf("NotReading: %v, and then %v", r, rAgain)
		}
		if r == nil {
			if !IsDir(c.ConfigPath, dirC) || c.Set.File == "" {
				t.Fatalf("reads %q, set by %+v", c.ConfigPath, c.Set)
			}
			return
		}
		if r.Text == "" || r.Repair == "" {
			t.Fatalf("no direction in %+v", r)
		}
	})
}

// TestTwoNames checks that a file with both names of the CRI plugin is refused
// only if it matters which of them is kept.
func TestTwoNames(t *testing.T) {
	files := func(early, full string) memory {
		return memory{main: "[plugins.cri.registry]\n" + early + oHeader + full + nHeader + setsC}
	}
	for _, v := range Lines()[1:] {
		for name, test := range map[string]struct {
			files  memory
			chance bool
		}{
			"the same":   {files(setsC, setsC), false},
			"one is not": {files(setsC, "config_path = \""+dirX+"\"\n"), !v.Before(2, 3, 0)},
			"of two files, the same": {memory{
				main:                            imports + "[plugins.cri.registry]\n" + setsC + oHeader + setsC,
				"/etc/containerd/conf.d/a.toml": "[plugins.cri]\n[plugins.\"io.containerd.grpc.v1.cri\"]\n",
			}, false},
			"of two files, the second is not": {memory{
				main:                            imports + "[plugins.cri.registry]\n" + setsC + oHeader + setsC,
				"/etc/containerd/conf.d/a.toml": "[plugins.cri.registry]\n" + setsC + oHeader + "config_path = \"" + dirX + "\"\n",
			}, !v.Before(2, 3, 0)},
		} {
			c, err := Effective(test.files, main, v)
			if err != nil || (c.chance != nil) != test.chance {
				t.Errorf("%s: %s: chance %v, %v", v.Release(), name, c.chance, err)
			}
		}
	}
}

// TestNegativeVersion checks that 2.0 to 2.2 start if a later file names another.
func TestNegativeVersion(t *testing.T) {
	files := memory{
		main:                            "version = -1\n" + imports,
		"/etc/containerd/conf.d/a.toml": oHeader + setsC,
		"/etc/containerd/conf.d/b.toml": "version = 2\n",
	}
	for v, starts := range map[string]bool{"2.0": true, "2.2": true, "2.3": false, "2.4": false} {
		c, err := Effective(files, main, version(t, v))
		if (err == nil) != starts || starts && c.NotReading(dirC) != nil {
			t.Errorf("%s: reads %q, %v", v, c.ConfigPath, err)
		}
	}
	files["/etc/containerd/conf.d/b.toml"] = "version = 1\n"
	if c, err := Effective(files, main, version(t, "2.1")); err != nil || c.ConfigPath != dirC || c.Version != 1 {
		t.Errorf("2.1: version 1 in force: %+v, %v", c, err)
	}
}

// With a colon a config_path is a list, whatever it cleans to.
func TestIsDir(t *testing.T) {
	for configPath, want := range map[string]bool{
		dirC:                              true,
		dirC + "/":                        true,
		"/etc/x/../containerd/certs.d":    true,
		"":                                false,
		dirC + ":":                        false,
		dirC + ":/etc/docker/certs.d":     false,
		"/etc/x:/../containerd/certs.d":   false,
		"/:/../../etc/containerd/certs.d": false,
	} {
		if got := IsDir(configPath, dirC); got != want {
			t.Errorf("IsDir(%q, %q) = %t; want %t", configPath, dirC, got, want)
		}
	}
	if list := dirC + ":/etc/docker/certs.d"; IsDir(list, list) {
		t.Errorf("IsDir(%q) of itself = true; want false", list)
	}
}

// TestNoDefaultRuntime checks that the repair of a default runtime that 1.7 does not
// have names what is in the file.
func TestNoDefaultRuntime(t *testing.T) {
	const plugin = "plugins.\"io.containerd.grpc.v1.cri\".containerd"
	for text, want := range map[string]string{
		"[" + plugin + "]\ndefault_runtime_name = \"nvidia\"\n":                        main + ":3: add the runtime, or name another one in default_runtime_name",
		"[" + plugin + "]\ndefault_runtime_name = \"\"\n":                              main + ":3: add the runtime, or name another one in default_runtime_name",
		"[" + plugin + ".runtimes.nvidia]\nruntime_type = \"io.containerd.runc.v2\"\n": main + ":2: remove the table [" + plugin + ".runtimes]",
	} {
		c, err := Effective(memory{main: "version = 2\n" + text}, main, Lines()[0])
		if err != nil || c.NoCRI == nil {
			t.Errorf("%q: %v, %v; want a CRI that does not load", text, c.NoCRI, err)
			continue
		}
		if got := fmt.Sprintf("%s:%d: %s", c.NoCRI.File, c.NoCRI.Line, c.NoCRI.Repair); got != want {
			t.Errorf("%q: %s; want %s", text, got, want)
		}
	}
}

// closed is Files of which this user may not read some.
type closed struct{ memory }

func (c closed) ReadFile(name string) ([]byte, error) {
	if c.memory[name] == "closed" {
		return nil, &fs.PathError{Op: "open", Path: "/root" + name, Err: fs.ErrPermission}
	}
	return c.memory.ReadFile(name)
}

// TestClosed holds that a file which this user may not read is not a fault of containerd's,
// and that the remedy is not to open it for all: it may hold logins.
func TestClosed(t *testing.T) {
	for _, files := range []memory{{main: "closed"}, {main: "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", "/etc/containerd/conf.d/a.toml": "closed"}} {
		for _, v := range Lines() {
			_, err := Effective(closed{files}, main, v)
			var s *StartError
			if !errors.As(err, &s) || s.Name != NotReadable || s.Repair != "run this as root" || strings.Contains(s.Text, "start") || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%v: %v", v, err)
			}
		}
	}
}

// lost is Files of which one is a link that leads to nothing: Glob finds it.
type lost struct{ memory }

func (l lost) Glob(string) ([]string, error) { return []string{"/etc/containerd/conf.d/a.toml"}, nil }

// TestImporter names the file that imports one that is missing, also by a pattern.
func TestImporter(t *testing.T) {
	for _, pattern := range []string{"/etc/containerd/conf.d/a.toml", "/etc/containerd/conf.d/*.toml"} {
		_, err := Effective(lost{memory{main: "version = 2\nimports = [\"" + pattern + "\"]\n"}}, main, Lines()[len(Lines())-1])
		var s *StartError
		if !errors.As(err, &s) || s.Name != ImportMissing || s.File != main || s.Line != 2 {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
