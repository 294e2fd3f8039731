package kubeletflags

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// MicroK8s gives its kubelet the flags in this file, one on each line. Its own programs
// change single lines there, and a refresh of the snap keeps the file.
const (
	microK8sArgs = "/var/snap/microk8s/current/args/kubelet"
	microK8sUnit = "snap.microk8s.daemon-kubelite.service"
	snapData     = "/var/snap/microk8s/current"
)

// A microK8s is the kubelet of MicroK8s.
type microK8s struct {
	data []byte
	argv []string
}

func findMicroK8s(files unitfile.Files) (*Kubelet, error) {
	data, err := read(files, microK8sArgs)
	if err != nil || data == nil {
		return nil, err
	}
	way := &microK8s{data: data}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			line = strings.NewReplacer("${SNAP_DATA}", snapData, "$SNAP_DATA", snapData).Replace(line)
			way.argv = append(way.argv, strings.Fields(line)...)
		}
	}
	return &Kubelet{Layout: "MicroK8s", Unit: microK8sUnit, Now: pathsOf(way.argv), InTree: lastOf(way.argv, InTreeFlag), way: way}, nil
}

// fault implements [way].
func (m *microK8s) fault(k *Kubelet) *Fault {
	for _, name := range []string{ConfigFlag, BinDirFlag} {
		if values := valuesOf(m.argv, name); len(values) > 1 {
			return &Fault{File: microK8sArgs, Text: fmt.Sprintf("--%s is there with different values: %s", name, strings.Join(values, ", ")), Repair: "only the last one takes effect; remove the other lines, or run this with --adopt, which leaves one with the map's path"}
		}
	}
	if (k.Now.Config == "") != (k.Now.BinDir == "") {
		return &Fault{File: microK8sArgs, Text: "one of --" + ConfigFlag + " and --" + BinDirFlag + " is missing", Repair: "add a line for it, or run this with --adopt, which writes both from the map"}
	}
	return nil
}

// plan implements [way].
func (m *microK8s) plan(_ *Kubelet, o Options) Plan {
	data := withoutLines(m.data)
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(slices.Clip(data), '\n')
	}
	data = slices.Concat(data, []byte(strings.Join(o.Want.words(), "\n")+"\n"))
	return Plan{Paths: o.Want, Changes: []Change{{Path: microK8sArgs, Old: m.data, New: data, Added: len(flagsIn(m.argv)) == 0}}}
}

// withoutLines returns a file of arguments without the lines of the flags.
func withoutLines(data []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(data) {
		if len(flagsIn(strings.Fields(string(line)))) == 0 {
			kept = append(kept, line...)
		}
	}
	return kept
}

// Remove removes the two flags from a file that they were added to: from the variable in
// an environment file, or from the lines of a file of arguments. It returns a file
// without them unchanged.
func Remove(data []byte) ([]byte, error) {
	for _, name := range unitfile.Names(data) {
		have, _ := unitfile.Words(data, name)
		if len(flagsIn(have)) > 0 {
			return unitfile.SetWords(data, name, others(have))
		}
	}
	if lines := withoutLines(data); len(lines) < len(data) {
		return lines, nil
	}
	return data, nil
}
