package doctor

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// The kubelet's flags, which exist on its command line only.
const (
	configFlag = "--image-credential-provider-config"
	binDirFlag = "--image-credential-provider-bin-dir"
)

// kubeletFlags checks that a file below another root starts the kubelet with the
// configuration of the map.
func kubeletFlags(facts *Facts) []Finding {
	f, want := facts.Flags, facts.Map.Kubelet
	if f == nil {
		return nil
	}
	var found []Finding
	for _, where := range f.InTree {
		found = append(found, InTree(where))
	}
	says := func(values []string, value string) bool {
		return slices.ContainsFunc(values, func(v string) bool { return path.Clean(v) == value })
	}
	flag, value, other := configFlag, want.Config, f.Configs
	if says(f.Configs, want.Config) {
		if says(f.BinDirs, want.BinDir) {
			return found
		}
		flag, value, other = binDirFlag, want.BinDir, f.BinDirs
	}
	text := fmt.Sprintf("no unit or environment file below %s starts the kubelet with %s", f.Root, flag)
	if len(other) > 0 {
		text += fmt.Sprintf("=%s (found %s=%s)", value, flag, strings.Join(other, ", "))
	}
	if len(f.Configs) == 0 && says(f.BinDirs, want.BinDir) || len(f.BinDirs) == 0 && says(f.Configs, want.Config) {
		return append(found, OneFlag(f.Unit, want, len(f.Configs) == 0))
	}
	repair := "run \"mirrorcred bootstrap join\", or " + start(want)
	if len(f.Configs) > 0 && len(f.BinDirs) > 0 { // as on AKS, EKS and kops
		repair = "leave config and bin_dir out of [kubelet] in the map, and those of the kubelet are used; or " + start(want)
	}
	return append(found, Finding{FlagsMissing, f.Unit, text + ", so it asks for no credential", repair})
}

// start says how to start the kubelet.
func start(want mirror.Kubelet) string {
	return fmt.Sprintf("start it with %s=%s %s=%s", configFlag, want.Config, binDirFlag, want.BinDir)
}

// OneFlag returns the finding that a kubelet is started with only one of the two flags:
// it exits at once (Kubernetes v1.37.0, pkg/kubelet/kuberuntime/kuberuntime_manager.go).
func OneFlag(where string, want mirror.Kubelet, noConfig bool) Finding {
	has, lacks := configFlag, binDirFlag
	if noConfig {
		has, lacks = lacks, has
	}
	return Finding{OneFlagOnly, where, fmt.Sprintf("the kubelet is started with %s but without %s, and it does not start with only one of the two", has, lacks), start(want)}
}

// InTree returns the finding that a kubelet is started with the flag of the ACR provider
// that was part of it (removed in Kubernetes 1.30).
func InTree(where string) Finding {
	return Finding{InTreeACRFlag, where, "the kubelet is started with --azure-container-registry-config; from 1.30 on it does not know that flag and does not start, and before it answers for ACR images itself",
		"remove the flag, name its file by config under [credential.azure] in the map if it is another one, and restart the kubelet"}
}

// A Start is how a kubelet runs, and how its unit starts it the next time.
type Start struct {
	PID                    int
	Unit                   string
	Config, BinDir         string // of the one that runs
	NextConfig, NextBinDir string
}

// NextStart compares the flags of a kubelet that runs with those in its unit's files.
func NextStart(s Start) []Finding {
	var found []Finding
	for _, f := range []struct{ flag, now, next string }{{configFlag, s.Config, s.NextConfig}, {binDirFlag, s.BinDir, s.NextBinDir}} {
		if f.now == f.next {
			continue
		}
		next := "without it"
		if f.next != "" {
			next = fmt.Sprintf("with %q", f.next)
		}
		found = append(found, Finding{FlagsDifferFromFiles, s.Unit, fmt.Sprintf("the kubelet (process %d) runs with %s=%q, and its unit starts it %s the next time, when pulls get their credentials from there, or none", s.PID, f.flag, f.now, next),
			fmt.Sprintf("write %s=%s where the unit has its flags", f.flag, f.now)})
	}
	return found
}

// maxLeftovers is how many directories one repair names.
const maxLeftovers = 5

// leftovers reports directories that hosts_dir named before and that still have
// mirrorcred's files.
func leftovers(facts *Facts) []Finding {
	var found []Finding
	for _, l := range facts.Leftovers {
		if len(l.Namespaces) == 0 {
			continue
		}
		dirs := make([]string, 0, maxLeftovers)
		for _, name := range l.Namespaces[:min(maxLeftovers, len(l.Namespaces))] {
			dirs = append(dirs, path.Join(l.Dir, name))
		}
		repair := "remove it once containerd reads the new hosts_dir: rm -r " + strings.Join(dirs, " ")
		if len(l.Namespaces) > len(dirs) {
			repair += ", and run this again for the rest"
		}
		found = append(found, Finding{HostsDirLeftovers, l.Dir, fmt.Sprintf(
			"it was hosts_dir before and still holds what mirrorcred wrote (%d of hosts.toml); a containerd that still reads it goes to those mirrors, and gets no credential for them",
			len(l.Namespaces)), repair})
	}
	return found
}
