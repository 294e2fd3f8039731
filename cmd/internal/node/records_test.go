package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const kubeletConfig = "/var/lib/kubelet/config.yaml"

// TestRecords tells by what a kubelet is known to keep records of its pulls: as
// it runs, and not by a directory that an earlier one left behind. Each drain
// here has an empty directory of records and is long enough for an end.
func TestRecords(t *testing.T) {
	const gate = "KubeletEnsureSecretPulledImages"
	const off, on = gate + "=false", gate + "=true"
	yes := func(flags ...string) []string { return append([]string{"--config=" + kubeletConfig}, flags...) }
	tests := map[string]struct {
		version string // "" is one that the program does not say
		flags   []string
		files   map[string]string
		changed string // a file that was changed since the kubelet started
		want    string // why the drain goes on, "" if it ends
	}{
		"by default in 1.35":         {version: "1.35.0"},
		"by default in 1.34":         {version: "1.34.9", want: gate + " is off in kubelet 1.34"},
		"1.34 with the gate":         {version: "v1.34.1", flags: []string{"--feature-gates=" + on}},
		"1.32 with the gate":         {version: "1.32.1", flags: []string{"--feature-gates=" + on}, want: "is off in kubelet 1.32"},
		"1.33 with all alpha":        {version: "1.33.1", flags: []string{"--feature-gates=AllAlpha=true"}},
		"1.34 without all alpha":     {version: "1.34.1", flags: []string{"--feature-gates=AllAlpha=false"}, want: "is off"},
		"1.36 without all beta":      {version: "1.36.1", flags: []string{"--feature-gates=AllBeta=false"}, want: "is off"},
		"all beta off, this on":      {version: "1.36.1", flags: []string{"--feature-gates=AllBeta=false," + on}},
		"off by flag":                {version: "1.36.3", flags: []string{"--feature-gates=" + off}, want: gate + " is off in kubelet 1.36"},
		"off by flag, two words":     {version: "1.36.3", flags: []string{"--feature-gates", "Other=true, " + off + " "}, want: "is off"},
		"off by flag, underscore":    {version: "1.36.3", flags: []string{"--feature_gates=" + off}, want: "is off"},
		"off by the first flag":      {version: "1.36.3", flags: []string{"--feature-gates=" + off, "--feature-gates=Other=true"}, want: "is off"},
		"on by the last flag":        {version: "1.36.3", flags: []string{"--feature-gates=" + off, "--feature-gates=" + on}},
		"an invalid gate":            {version: "1.36.3", flags: []string{"--feature-gates=" + gate}, want: "its --feature-gates has \"" + gate + "\""},
		"off by YAML":                {version: "1.36.3", flags: yes(), files: map[string]string{kubeletConfig: "featureGates:\n  " + gate + ": false\n"}, want: "is off"},
		"off by JSON":                {version: "1.36.3", flags: yes(), files: map[string]string{kubeletConfig: `{"featureGates": {"` + gate + `": false}}`}, want: "is off"},
		"on by YAML in 1.34":         {version: "1.34.3", flags: yes(), files: map[string]string{kubeletConfig: "featureGates: {" + gate + ": true}\n"}},
		"off by YAML, on by flag":    {version: "1.36.3", flags: yes("--feature-gates=" + on), files: map[string]string{kubeletConfig: "featureGates: {" + gate + ": false}\n"}},
		"another key's spelling":     {version: "1.36.3", flags: yes(), files: map[string]string{kubeletConfig: "featuregates: {" + gate + ": false}\n"}},
		"a broken configuration":     {version: "1.36.3", flags: yes(), files: map[string]string{kubeletConfig: "featureGates: [\n"}, want: kubeletConfig + " is neither YAML nor JSON"},
		"gates that are not a table": {version: "1.36.3", flags: yes(), files: map[string]string{kubeletConfig: "featureGates: [a]\n"}, want: "featureGates is not a table"},
		"no such configuration":      {version: "1.36.3", flags: yes(), want: "no such file"},
		"a relative configuration":   {version: "1.36.3", flags: []string{"--config=kubelet.yaml"}, want: "relative path"},
		"configuration changed":      {version: "1.36.3", flags: yes(), files: map[string]string{kubeletConfig: "{}"}, changed: kubeletConfig, want: kubeletConfig + " may have changed since it started"},
		"off by a drop-in": {version: "1.36.3", flags: yes("--config-dir=/etc/kubelet.d"), files: map[string]string{
			kubeletConfig: "featureGates: {" + gate + ": true}\n", "/etc/kubelet.d/a/10.conf": "featureGates: {" + gate + ": false}\n",
		}, want: "is off"},
		"what is not a drop-in": {version: "1.36.3", flags: yes("--config-dir=/etc/kubelet.d"), files: map[string]string{
			kubeletConfig: "{}", "/etc/kubelet.d/10.yaml": "featureGates: {" + gate + ": false}\n",
		}},
		"a drop-in taken away": {version: "1.36.3", flags: yes("--config-dir=/etc/kubelet.d"), files: map[string]string{
			kubeletConfig: "{}", "/etc/kubelet.d/10.conf": "{}",
		}, changed: "/etc/kubelet.d", want: "/etc/kubelet.d may have changed"},
		"a drop-in null": {version: "1.34.3", flags: yes("--config-dir=/etc/kubelet.d"), files: map[string]string{
			kubeletConfig: "featureGates: {" + gate + ": true}\n", "/etc/kubelet.d/10.conf": "featureGates: {" + gate + ": null}\n",
		}, want: "is off"},
		"the program changed":      {version: "1.36.3", changed: "/usr/bin/kubelet", want: "/usr/bin/kubelet may have changed"},
		"no version":               {want: "it does not say"},
		"an invalid version":       {version: "devel", want: "its version \"devel\" is not one of Kubernetes"},
		"another root":             {version: "1.36.3", flags: []string{"--root-dir=/data/kubelet"}, want: "/data/kubelet/image_manager/pulling: no such file"},
		"another root, underscore": {version: "1.36.3", flags: []string{"--root_dir", "/data/kubelet"}, want: "/data/kubelet/image_manager/pulling: no such file"},
		"another root with a pull": {version: "1.36.3", flags: []string{"--root-dir=/data/kubelet"}, files: map[string]string{
			"/data/kubelet/image_manager/pulling/a": `{"image": "mcr.microsoft.com/a:1"}`,
		}, want: "has 1 pull in progress"},
		"a relative root":      {version: "1.36.3", flags: []string{"--root-dir=kubelet"}, want: "its --root-dir \"kubelet\" is relative"},
		"a record cut short":   {version: "1.36.3", files: map[string]string{records + "/a": `{"image": "quay.io/a`}, want: "has 1 pull in progress"},
		"an empty record":      {version: "1.36.3", files: map[string]string{records + "/a": ""}, want: "has 1 pull in progress"},
		"a record of no image": {version: "1.36.3", files: map[string]string{records + "/a": `{"image": ""}`}, want: "has 1 pull in progress"},
		"a directory":          {version: "1.36.3", files: map[string]string{records + "/a/b": ""}, want: "has 1 pull in progress"},
		"other pulls":          {version: "1.36.3", files: map[string]string{records + "/a": `{"image": "quay.io/a:1"}`, records + "/b": `{"image": "nginx"}`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap)
			host.is = test.version
			mkdir(t, n.path(records))
			for file, text := range test.files {
				write(t, n.path(file), text)
			}
			apply(t, n)
			host.startKubelet(append(test.flags, theFlags...)...)
			wantLeft(t, apply(t, n), "")
			wantLeft(t, applyMap(t, n, emptyMap), "draining mcr.microsoft.com: ")
			if test.changed != "" {
				host.changed = map[string]plan.Moment{test.changed: host.moment}
			}
			host.after(2 * time.Minute)
			todo := apply(t, n)
			if test.want == "" {
				wantGone(t, n, todo)
				return
			}
			if got := summary(todo); !strings.HasPrefix(got, "draining mcr.microsoft.com: ") || !strings.Contains(got, test.want) {
				t.Errorf("the plan leaves:\n%swant a drain that says: %s", got, test.want)
			}
			wantDraining(t, n)
			host.startKubelet(theFlags...)
			wantGone(t, n, apply(t, n))
		})
	}
}

const records = "/var/lib/kubelet/image_manager/pulling"

// TestRecordsOfEach checks that each kubelet from before the withdrawal counts,
// by the records of its own root.
func TestRecordsOfEach(t *testing.T) {
	n, host := newNode(t, oneMap)
	mkdir(t, n.path("/other/image_manager/pulling"))
	write(t, n.path(records, "a"), `{"image": "mcr.microsoft.com/a:1"}`)
	apply(t, n)
	host.startKubelet(theFlags...)
	other := host.process(false, append([]string{"--root-dir=/other"}, theFlags...))
	other.PID = 200
	host.run = append(host.run, other)
	wantLeft(t, apply(t, n), "")
	applyMap(t, n, emptyMap)
	host.after(2 * time.Minute)
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 100) has 1 pull in progress")
	// One without records among them is as good as none with.
	if err := os.Remove(n.path(records, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(n.path("/other/image_manager")); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 200) may not keep records")
	host.run = host.run[:1]
	wantGone(t, n, apply(t, n))
}

// TestEmbeddedRecords checks that a kubelet within another program, whose flags
// cannot be seen, is not known to keep any.
func TestEmbeddedRecords(t *testing.T) {
	n, host := newNode(t, oneMap)
	mkdir(t, n.path(records))
	apply(t, n)
	host.start(true, nil)
	wantLeft(t, apply(t, n), "")
	applyMap(t, n, emptyMap)
	host.after(2 * time.Minute)
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 100) may not keep records of its pulls (its flags cannot be seen)")
}

// TestRenamedRecord renames a record each time that the directory was listed: it
// counts anyway.
func TestRenamedRecord(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	got, err := readPulls(dir)
	if err != nil || got.Of("mcr.microsoft.com") != 1 {
		t.Errorf("readPulls = %v, %v; want a record that vanishes to count", got, err)
	}
	if _, err := readPulls(filepath.Join(dir, "none")); err == nil {
		t.Error("readPulls of a directory that is not there has no error")
	}
}

func TestChangedSince(t *testing.T) {
	l := linux{}
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write(t, file, "")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	now, err := l.now()
	if err != nil {
		t.Fatal(err)
	}
	long := now
	long.Since -= time.Minute
	later := now
	later.Since += time.Minute
	boot := now
	boot.Boot = "another"
	tests := map[string]struct {
		path string
		m    plan.Moment
		want bool
	}{
		"changed since":   {file, long, true},
		"a tick ago":      {file, now, true},
		"not since":       {file, later, false},
		"a link, changed": {link, long, true},
		"a link, not":     {link, later, false},
		"another boot":    {file, boot, true},
	}
	for name, test := range tests {
		if got, err := l.changedSince(test.path, plan.Process{Started: test.m}); err != nil || got != test.want {
			t.Errorf("%s: changedSince = %t, %v; want %t", name, got, err, test.want)
		}
	}
	// No program can set the time of an inode.
	if err := os.Chtimes(file, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.changedSince(file, plan.Process{Started: long}); err != nil || !got {
		t.Errorf("with a time in the past: %t, %v; want true", got, err)
	}
	if _, err := l.changedSince(filepath.Join(dir, "gone"), plan.Process{Started: now}); err == nil {
		t.Error("a file that is not there has no error")
	}
}
