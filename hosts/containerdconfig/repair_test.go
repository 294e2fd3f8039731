package containerdconfig

import (
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// TestRepair carries out the edit that each reason names, as an operator would,
// and has the files read again.
func TestRepair(t *testing.T) {
	repaired := 0
	for _, e := range readExamples(t) {
		for _, v := range Lines() {
			c, err := Effective(e.files, main, v)
			if err != nil {
				continue
			}
			r := c.NotReading(dirC)
			if (r == nil) != (c.ConfigPath == dirC && c.NoCRI == nil) {
				t.Errorf("%s, %s: NotReading = %v with config_path = %q", e.name, v.Release(), r, c.ConfigPath)
			}
			if r == nil {
				continue
			}
			if r.File == "" || r.Text == "" || r.Repair == "" {
				t.Errorf("%s, %s: the reason lacks a part: %+v", e.name, v.Release(), r)
			}
			files := carryOut(t, e.files, r)
			repaired++
			after, err := Effective(files, main, v)
			if err != nil && c.NoCRI == nil { // a plugin that is enabled may have a fault of its own
				t.Errorf("%s, %s: %q ends in %v", e.name, v.Release(), r.Repair, err)
			} else if left := after.NotReading(dirC); left != nil && (c.NoCRI == nil || left.Text == r.Text) {
				t.Errorf("%s, %s: after %q: %s", e.name, v.Release(), r.Repair, left)
			}
		}
	}
	if repaired < 100 {
		t.Errorf("%d repairs were carried out", repaired)
	}
}

var (
	setting  = regexp.MustCompile(`^set config_path = "(.*)" under \[(.*)\] in (\S+)$`)
	creating = regexp.MustCompile(`^create \S+ with version = (\d), and config_path = "(.*)" under \[(.*)\]$`)
	moving   = regexp.MustCompile(`^(?:run "mirrorcred import \S+" for a map with them, remove the table|remove the table .*), and set config_path = "(.*?)"(?: in its place)?$`)
	removing = regexp.MustCompile(`^(?:run "mirrorcred import \S+" for a map with them, )?remove the table \[(.*)\]$`)
	enabling = regexp.MustCompile(`^remove "(.*)" from disabled_plugins$`)
)

// carryOut returns the files after a reason's edit.
func carryOut(t *testing.T, files memory, r *Reason) memory {
	t.Helper()
	edited := maps.Clone(files)
	if m := creating.FindStringSubmatch(r.Repair); m != nil {
		edited[main] = "version = " + m[1] + "\n[" + m[3] + "]\nconfig_path = " + strconv.Quote(m[2]) + "\n"
		return edited
	}
	edit := func(name string, change func(config map[string]any)) {
		config := map[string]any{}
		if err := toml.Unmarshal([]byte(strings.TrimPrefix(files[name], "\ufeff")), &config); err != nil {
			t.Fatal(err)
		}
		change(config)
		data, err := toml.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		edited[name] = string(data)
	}
	if m := setting.FindStringSubmatch(r.Repair); m != nil {
		edit(m[3], func(config map[string]any) {
			registry, name := parent(t, config, m[2]+".config_path")
			registry[name] = m[1]
		})
	} else if m := moving.FindStringSubmatch(r.Repair); m != nil {
		edit(r.File, func(config map[string]any) {
			registry, _ := parent(t, config, r.Table)
			clear(registry)
			registry["config_path"] = m[1]
		})
	} else if m := removing.FindStringSubmatch(r.Repair); m != nil {
		edit(r.File, func(config map[string]any) {
			table, name := parent(t, config, m[1])
			delete(table, name)
		})
	} else if m := enabling.FindStringSubmatch(r.Repair); m != nil {
		edit(r.File, func(config map[string]any) { delete(config, "disabled_plugins") })
	} else {
		t.Errorf("cannot carry out %q", r.Repair)
	}
	return edited
}

// parent returns the last key of a header, and the table that holds it.
func parent(t *testing.T, config map[string]any, header string) (map[string]any, string) {
	t.Helper()
	var tables map[string]any
	if err := toml.Unmarshal([]byte("["+header+"]"), &tables); err != nil {
		t.Fatalf("%q is not a table: %v", header, err)
	}
	for {
		for name, next := range tables {
			tables = next.(map[string]any)
			if len(tables) == 0 {
				return config, name
			}
			if config[name] == nil {
				config[name] = map[string]any{}
			}
			config = config[name].(map[string]any)
		}
	}
}
