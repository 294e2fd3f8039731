package plan

import (
	"fmt"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A kubelet is one that runs, and what it read when it started.
type kubelet struct {
	Process
	misconfigured fault.Fault // why it does not run with the map's configuration
	known         bool        // whether it is known which providers it has
	providers
}

// providers are what the kubelet makes of mirrorcred's entries in its configuration.
type providers struct {
	// has are the images of each, by its name and the token that it gets.
	has map[[2]string]matcher
	// hasOwn says that one of them runs mirrorcred's plugin.
	hasOwn bool
	// mirrors are those in an entry, nil if no entry has any, and answers is the login
	// server whose credential the plugin returns for a host.
	mirrors, answers map[string]string
}

func newProviders(entries []Entry) providers {
	p := providers{has: map[[2]string]matcher{}}
	for _, e := range entries {
		p.has[[2]string{e.Name, e.Token}] = newMatcher(e.Match)
		by := running(e.Name)
		p.hasOwn = p.hasOwn || by.ReadsRoutes()
		if mirrors := by.mirrorsIn(e); mirrors != nil {
			p.mirrors, p.answers = mirrors, byHost(mirrors)
		}
	}
	return p
}

// lacks returns what a mirror needs and the configuration does not name, "" if the
// configuration names it all, for all images of the source.
func (p providers) lacks(needs []Entry, one mirror.Mirror) string {
	for _, e := range needs {
		switch lacks := p.lacksEntry([2]string{e.Name, e.Token}, one); {
		case lacks == "":
		case e.Token != "":
			return "the token for its credential"
		default:
			return lacks
		}
	}
	return ""
}

// lacksEntry returns what the kubelet lacks to run a provider for all images of a mirror's
// source, with the mirror in its arguments if it needs that; "" if it lacks nothing.
func (p providers) lacksEntry(key [2]string, one mirror.Mirror) string {
	m, ok := p.has[key]
	return running(key[0]).lacks(one, ok && m.has(one.Source), p.mirrors)
}

// hasOther reports whether the kubelet gets the right credential of a mirror from the
// plugin that the map no longer names.
func (p providers) hasOther(one mirror.Mirror, now plugin) bool {
	for key := range p.has {
		if !now.runs(key[0]) && p.lacksEntry(key, one) == "" {
			return true
		}
	}
	return false
}

// A machine is which kubelets run on the node.
type machine struct {
	running []Process
	// unseen says why another kubelet may run that is not seen.
	unseen fault.Fault
}

// machineOf returns the kubelets that count. Below another root there are none.
func machineOf(d *Desired, o *Observed) machine {
	if d.Elsewhere {
		return machine{}
	}
	var m machine
	if o.KubeletFault == nil {
		m.running = o.Running
	}
	if o.Unseen != "" && !d.NoKubelet && !d.Map.Kubelet.NotRunning {
		m.unseen = fault.Fault{
			What: "cannot tell whether a kubelet runs here: " + o.Unseen,
			Fix:  "if no kubelet runs here, write running = false under [kubelet] in the map, or run this with --no-kubelet",
		}
	}
	return m
}

// misconfigured returns why a kubelet does not run with the map's configuration, nothing
// if it does, or if its flags cannot be seen.
func misconfigured(want mirror.Kubelet, k Process) fault.Fault {
	flags := func(fix, format string, args ...any) fault.Fault {
		return fault.Fault{Name: doctor.FlagsMissing, What: fmt.Sprintf("the kubelet (process %d) runs ", k.PID) + fmt.Sprintf(format, args...), Fix: fix}
	}
	const configFlag, binDirFlag = "image-credential-provider-config", "image-credential-provider-bin-dir"
	switch {
	case k.Embedded:
		return fault.Fault{}
	case k.Config == "":
		return flags(fmt.Sprintf("run \"mirrorcred bootstrap join\", or start it with that flag and --%s=%s", binDirFlag, want.BinDir), "without --%s=%s", configFlag, want.Config)
	case path.Clean(k.Config) != want.Config && !want.Named:
		return flags("restart it if its unit was changed, or write config and bin_dir under [kubelet] in the map",
			"with --%s=%s, but mirrorcred writes %q, the path of its unit or else the default", configFlag, k.Config, want.Config)
	case path.Clean(k.Config) != want.Config:
		return flags("remove config and bin_dir from the map, or start it with the map's paths",
			"with --%s=%s, but the map has config = %q under [kubelet]", configFlag, k.Config, want.Config)
	case k.BinDir == "" || path.Clean(k.BinDir) != want.BinDir:
		return flags("start it with that flag, or write its directory as bin_dir under [kubelet] in the map", "without --%s=%s", binDirFlag, want.BinDir)
	}
	return fault.Fault{}
}

// kubelets are the running kubelets with what each has read, and what the map requires
// of them.
type kubelets struct {
	list   []kubelet
	unseen fault.Fault // as in [machine]
	plugin plugin
	// wants are mirrorcred's providers as the map has them.
	wants []Entry
	// mapped are the mirrors that the plugin is told now, if it is told any.
	mapped map[string]string
	// rejected says that the kubelet did not start with what the map asks for,
	// and has its old configuration.
	rejected bool
	// unsettled says why the kubelet's configuration is left alone for now, and file is
	// what a kubelet would read in it as it is.
	unsettled fault.Fault
	file      providers
}

// mayHaveRun reports whether a running kubelet may have run mirrorcred's plugin for a source.
func (ks *kubelets) mayHaveRun(s mirror.Source) bool {
	return !ks.unseen.None() || slices.ContainsFunc(ks.list, func(k kubelet) bool {
		if !k.known {
			return true
		}
		for _, m := range k.has {
			if m.has(s) {
				return true
			}
		}
		return false
	})
}

// needed returns mirrorcred's providers that answer for the images of a mirror, as the
// map has them.
func (ks *kubelets) needed(m mirror.Mirror) []Entry {
	var list []Entry
	for _, name := range ks.plugin.needs(m) {
		e := Entry{Name: name}
		if i := slices.IndexFunc(ks.wants, func(e Entry) bool { return e.Name == name }); i >= 0 {
			e.Token = ks.wants[i].Token
		}
		list = append(list, e)
	}
	return list
}
