package kubeletflags

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

const (
	kubeletUnit = "kubelet.service"
	// dropIn sorts after every other drop-in that is likely to exist.
	dropIn = "/etc/systemd/system/" + kubeletUnit + ".d/zz-mirrorcred.conf"
)

// A service is a kubelet with a systemd unit of its own.
type service struct {
	*unitfile.Service
	files  unitfile.Files
	layout layout
}

func findService(files unitfile.Files) (*Kubelet, error) {
	s, err := unitfile.ReadService(files, kubeletUnit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Fault{File: kubeletUnit, Text: "it cannot be read as systemd reads it: " + err.Error(), Repair: "repair that, or run this as root"}
	}
	if len(s.Argv) == 0 || s.Starts != 1 {
		return nil, &Fault{File: s.Files[0], Text: fmt.Sprintf("%s has %d ExecStart lines", kubeletUnit, s.Starts), Repair: "a kubelet has one; see systemctl cat kubelet"}
	}
	way := &service{s, files, layoutOf(files, s)}
	k := &Kubelet{Layout: way.layout.name, Unit: kubeletUnit, Now: pathsOf(s.Argv), InTree: lastOf(s.Argv, InTreeFlag), Argv: s.Argv, way: way}
	if !way.isWrapped() {
		k.Program = s.Argv[0]
	}
	return k, nil
}

// isWrapped reports whether the unit starts another program than the kubelet.
func (s *service) isWrapped() bool { return path.Base(s.Argv[0]) != "kubelet" }

// fault implements [way].
func (s *service) fault(k *Kubelet) *Fault {
	for _, name := range []string{ConfigFlag, BinDirFlag} {
		values := valuesOf(s.Argv, name)
		if len(values) < 2 || s.layout.name == "EKS" {
			continue // nodeadm appends the operator's flags to its own
		}
		return &Fault{
			File: s.fileOf(name), Text: fmt.Sprintf("the kubelet has --%s with different values: %s", name, strings.Join(values, ", ")),
			Repair: "only the last one takes effect; take the others out, or run this with --adopt, which leaves the one that the map needs",
		}
	}
	if (k.Now.Config == "") == (k.Now.BinDir == "") {
		return nil
	}
	there, missing := ConfigFlag, BinDirFlag
	if k.Now.Config == "" {
		there, missing = missing, there
	}
	return &Fault{
		File: s.fileOf(there), Text: fmt.Sprintf("the kubelet has --%s=%s and no --%s", there, k.Now.value(there), missing),
		Repair: "add the other flag there, or run this with --adopt, which gives it both from the map",
	}
}

// fileOf returns the file that gives a flag, "" if that cannot be told.
func (s *service) fileOf(name string) string {
	found := ""
	for _, v := range s.Variables {
		if v.File == "" || v.InUnit {
			continue
		}
		data, _ := s.files.ReadFile(v.File) // it was read a moment ago
		if list, _ := unitfile.Words(data, v.Name); len(valuesOf(list, name)) > 0 {
			found = v.File
		}
	}
	if found == "" && strings.Contains(s.Start, name) {
		return s.StartFile
	}
	return found
}

// plan implements [way].
func (s *service) plan(_ *Kubelet, o Options) Plan {
	changed := map[string][]byte{}
	p := Plan{Paths: o.Want}
	fail := func(f *Fault) Plan { return Plan{Faults: []*Fault{f}} }
	added := isBare(s.Argv)
	if o.Adopt && len(flagsIn(s.Argv)) > 0 {
		added = false
		if f := s.turn(o.Want, changed); f != nil {
			return fail(f)
		}
	}
	now, err := unitfile.ReadService(unitfile.Overlay{Files: s.files, Over: changed}, s.Name)
	if err == nil && s.isWrong(now, o) {
		if f := s.add(o, missing(now.Argv, o.Want), changed); f != nil {
			return fail(f)
		}
	}
	now, err = unitfile.ReadService(unitfile.Overlay{Files: s.files, Over: changed}, s.Name)
	if err != nil || s.isWrong(now, o) {
		return fail(&Fault{File: s.StartFile, Text: "none of the variables in its ExecStart passes the two flags to the kubelet", Repair: "add them to its ExecStart yourself: " + strings.Join(o.Want.words(), " ")})
	}
	for _, name := range sorted(changed) {
		old, err := read(s.files, name)
		if err != nil {
			return fail(&Fault{File: name, Text: err.Error(), Repair: "run this as root"})
		}
		p.Changes = append(p.Changes, Change{Path: name, Old: old, New: changed[name], Added: added && old != nil})
		if s.layout.writer != "" && name != dropIn {
			p.Notes = append(p.Notes, strings.TrimSuffix(name+": "+s.layout.writer+"; "+s.layout.lasting, "; "))
		}
	}
	return p
}

// isWrong reports whether a changed service would start anything but the old arguments
// with the flags.
func (s *service) isWrong(now *unitfile.Service, o Options) bool {
	inTree := lastOf(s.Argv, InTreeFlag)
	if o.Adopt {
		inTree = ""
	}
	count := len(flagsIn(now.Argv)) - len(slices.Compact([]string{"", inTree})) + 1
	twice := isBare(s.Argv) && count != 2 // by a variable that is there twice
	return pathsOf(now.Argv) != o.Want || lastOf(now.Argv, InTreeFlag) != inTree || twice || !slices.Equal(others(now.Argv), others(s.Argv))
}

// turn changes the flags in the environment files that have them.
func (s *service) turn(want Paths, changed map[string][]byte) *Fault {
	for _, v := range s.Variables {
		if v.File == "" || v.InUnit || v.File == kubeadmFile {
			continue
		}
		data, ok := changed[v.File]
		if !ok {
			data, _ = s.files.ReadFile(v.File)
		}
		have, _ := unitfile.Words(data, v.Name)
		if len(flagsIn(have)) == 0 {
			continue
		}
		data, err := unitfile.SetWords(data, v.Name, turn(have, want))
		if err != nil {
			return &Fault{File: v.File, Text: err.Error(), Repair: "change the flags there yourself"}
		}
		changed[v.File] = data
	}
	if file := s.fileOf(InTreeFlag); file == kubeadmFile {
		return &Fault{File: file, Text: "it has --" + InTreeFlag + ", and kubeadm alone may write it", Repair: "take the flag out there, and out of kubeletExtraArgs in kubeadm's configuration"}
	}
	return nil
}

// add adds the flags in the best place in the unit.
func (s *service) add(o Options, words []string, changed map[string][]byte) *Fault {
	v, file := s.variable()
	switch {
	case s.isWrapped() || v == nil:
		return s.addCommand(o, words, changed)
	case v.InUnit:
		changed[dropIn] = []byte(header + "# It repeats what " + v.File + " sets.\n[Service]\nEnvironment=\"" + v.Name + "=" + escape(strings.TrimSpace(s.valueOf(*v)+" "+strings.Join(words, " "))) + "\"\n")
		return nil
	}
	data, ok := changed[file]
	if !ok {
		old, err := read(s.files, file)
		if err != nil {
			return &Fault{File: file, Text: err.Error(), Repair: "run this as root"}
		}
		data = old
	}
	have, _ := unitfile.Words(data, v.Name)
	data, err := unitfile.SetWords(data, v.Name, slices.Concat(have, words))
	if err != nil {
		return &Fault{File: file, Text: err.Error(), Repair: "add these to " + v.Name + " there yourself: " + strings.Join(words, " ")}
	}
	changed[file] = data
	return nil
}

// header is the first line of a drop-in.
const header = "# Written by \"mirrorcred bootstrap join\"; \"mirrorcred bootstrap undo\" removes it.\n"

// variable returns the variable to add flags to, nil if there is none, and its
// environment file.
func (s *service) variable() (*unitfile.Variable, string) {
	var best *unitfile.Variable
	for i, v := range s.Variables {
		switch {
		case v.Name == kubeadmArgs || v.File == kubeadmFile || v.Name == "NODEADM_KUBELET_ARGS":
			continue
		case v.Name == s.layout.variable, v.Name == extraArgs:
			best = &s.Variables[i]
		case s.layout.name == "plain" && v.File != "" && (best == nil || best.Name != extraArgs):
			best = &s.Variables[i]
		}
	}
	if best == nil || best.File != "" {
		if best == nil {
			return nil, ""
		}
		return best, best.File
	}
	for _, file := range slices.Backward(s.EnvironmentFiles) {
		if best.Name == extraArgs && file != kubeadmFile && !strings.ContainsAny(file, "*?[") {
			return best, file
		}
	}
	return nil, ""
}

// valueOf returns the value of a variable in the unit.
func (s *service) valueOf(v unitfile.Variable) string {
	// A command with that variable alone shows its value.
	probe := unitfile.Overlay{Files: s.files, Over: map[string][]byte{dropIn: []byte("[Service]\nExecStart=\nExecStart=/x ${" + v.Name + "}\n")}}
	if c, err := unitfile.ReadCommand(probe, s.Name); err == nil && len(c.Argv) == 2 {
		return c.Argv[1]
	}
	return ""
}

// escape writes a text between the double quotes of a unit.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(text)
}

// shells take their command as one word, so added words do not reach the command.
var shells = []string{"sh", "bash", "dash", "ash", "busybox", "env", "nsenter", "systemd-run"}

// addCommand writes a drop-in with the whole command.
func (s *service) addCommand(o Options, list []string, changed map[string][]byte) *Fault {
	words := strings.Join(list, " ")
	f := &Fault{File: s.StartFile, Text: "its ExecStart has no variable that flags can be added to", Repair: "add these to it: " + words + "; or run this with --adopt, which repeats it with them in " + dropIn}
	switch name := path.Base(s.Argv[0]); {
	case s.layout.lasting != "" && s.layout.variable == "":
		f.Repair = s.layout.writer + ", so " + strings.NewReplacer("CONFIG", o.Want.Config, "BIN_DIR", o.Want.BinDir).Replace(s.layout.lasting)
	case s.layout.variable != "" && s.layout.variable != extraArgs:
		f.Text, f.Repair = "no file sets "+s.layout.variable+" yet", "run this when the node is set up: "+s.layout.writer
		return f
	case slices.Contains(shells, name):
		f.Text, f.Repair = "its ExecStart runs "+name+" and not the kubelet itself", "add these to the kubelet's command there: "+words
		return f
	case s.isWrapped():
		f.Text = "its ExecStart runs " + s.Argv[0] + " and not the kubelet itself"
		f.Repair = "if that hands its arguments on to the kubelet, run this with --adopt, which repeats ExecStart with the flags in " + dropIn + "; else add these to the kubelet's command: " + words
	}
	if !o.Adopt {
		return f
	}
	start := s.Start + " " + words
	if value := lastOf(s.Argv, InTreeFlag); value != "" {
		start = strings.Replace(start, "--"+InTreeFlag+"="+value, "", 1)
	}
	changed[dropIn] = []byte(header + "# It repeats ExecStart of " + s.StartFile + ": after a change there, run that again.\n[Service]\nExecStart=\nExecStart=" + start + "\n")
	return nil
}

func sorted(changed map[string][]byte) []string {
	var list []string
	for name := range changed {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
