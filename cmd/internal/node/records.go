package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	live "github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A kubelet that ensures that images are pulled with a secret records each pull
// before it begins, as a file below its root directory, and removes the file
// when the pull is over (k8s.io/kubernetes v1.36.3,
// pkg/kubelet/images/pullmanager). Only the records of the running kubelet
// count: the directory stays even if a later kubelet keeps no records.

// recordsGate is the feature gate for these records, alpha since 1.33 and beta
// since 1.35 (pkg/features/kube_features.go).
const recordsGate = "KubeletEnsureSecretPulledImages"

const firstWithRecordsGate, firstWithRecords = 33, 35

// pulls reads the records of a kubelet. version is the one in the map, "" if
// there is none.
func (n *Node) pulls(k plan.Process, version string) plan.Pulls {
	var now plan.Pulls
	dir, err := n.recordsDir(k, version)
	if err == nil {
		now, err = readPulls(dir)
	}
	if err != nil {
		now.Unknown = err.Error()
	}
	return now
}

// recordsDir returns where a kubelet keeps its records. The error says why it
// may keep none.
func (n *Node) recordsDir(k plan.Process, version string) (string, error) {
	if k.Embedded {
		return "", errors.New("its flags cannot be seen")
	}
	minor, err := n.minorOf(k, version)
	if err != nil {
		return "", err
	}
	gates, err := n.featureGates(k)
	if err != nil {
		return "", err
	}
	if !keepsRecords(minor, gates) {
		return "", fmt.Errorf("%s is off in kubelet 1.%d", recordsGate, minor)
	}
	root := "/var/lib/kubelet"
	if dir, ok := flagOf(k, "root-dir"); ok {
		root = dir
	}
	if !filepath.IsAbs(root) {
		return "", fmt.Errorf("its --root-dir %q is relative", root)
	}
	return n.path(root, "image_manager", "pulling"), nil
}

// minorOf returns the minor version of a running kubelet. The program on the
// disk counts only if it is the one that was started.
func (n *Node) minorOf(k plan.Process, version string) (int, error) {
	if version == "" {
		if len(k.Args) == 0 || !filepath.IsAbs(k.Args[0]) {
			return 0, errors.New("its program cannot be found")
		}
		if err := n.unchanged(k, k.Args[0]); err != nil {
			return 0, err
		}
		var err error
		if version, err = n.host.version(k); err != nil {
			return 0, err
		}
	}
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); err != nil || major != 1 {
		return 0, fmt.Errorf("its version %q is not one of Kubernetes", version)
	}
	return minor, nil
}

// unchanged returns an error if a file may have changed since a kubelet
// started.
func (n *Node) unchanged(k plan.Process, path string) error {
	changed, err := n.host.changedSince(n.path(path), k)
	if err != nil {
		return describe(err)
	}
	if changed {
		return fmt.Errorf("%s may have changed since it started", path)
	}
	return nil
}

// keepsRecords reports whether a kubelet of that minor version with these
// feature gates keeps records.
func keepsRecords(minor int, gates map[string]bool) bool {
	if on, isSet := gates[recordsGate]; isSet {
		return on && minor >= firstWithRecordsGate
	}
	if minor >= firstWithRecords {
		beta, isSet := gates["AllBeta"]
		return beta || !isSet
	}
	return gates["AllAlpha"] && minor >= firstWithRecordsGate
}

// featureGates returns the gates that a kubelet was started with: its command
// line wins over its configuration files.
func (n *Node) featureGates(k plan.Process) (map[string]bool, error) {
	gates := map[string]bool{}
	if config, ok := flagOf(k, "config"); ok && config != "" {
		if err := n.addGates(k, config, gates); err != nil {
			return nil, err
		}
	}
	if dir, ok := flagOf(k, "config-dir"); ok && dir != "" {
		if err := n.addDropIns(k, dir, gates); err != nil {
			return nil, err
		}
	}
	for _, value := range live.Flags(k.Args, "feature-gates") {
		for pair := range strings.SplitSeq(value, ",") {
			if pair == "" {
				continue
			}
			name, text, _ := strings.Cut(pair, "=")
			on, err := strconv.ParseBool(strings.TrimSpace(text))
			if err != nil {
				return nil, fmt.Errorf("its --feature-gates has %q", pair)
			}
			gates[strings.TrimSpace(name)] = on
		}
	}
	return gates, nil
}

// addDropIns adds the gates of the *.conf files below a directory, in the order
// in which the kubelet merges them.
func (n *Node) addDropIns(k plan.Process, dir string, gates map[string]bool) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("its --config-dir %q is relative", dir)
	}
	err := filepath.WalkDir(n.path(dir), func(path string, e fs.DirEntry, err error) error {
		path = "/" + strings.TrimPrefix(path, n.path("/"))
		switch {
		case err != nil:
			return describe(err)
		case e.IsDir():
			return n.unchanged(k, path) // a file may have gone
		case filepath.Ext(path) == ".conf":
			return n.addGates(k, path, gates)
		}
		return nil
	})
	return err
}

// addGates adds the feature gates of one of the kubelet's configuration files,
// YAML or JSON.
func (n *Node) addGates(k plan.Process, file string, gates map[string]bool) error {
	if !filepath.IsAbs(file) {
		return fmt.Errorf("its configuration %q has a relative path", file)
	}
	if err := n.unchanged(k, file); err != nil {
		return err
	}
	data, err := input.ReadFile(n.path(file), 0)
	if err != nil {
		return describe(err)
	}
	// Through raw values, because the kubelet's decoder is case-sensitive and
	// encoding/json is not.
	var config map[string]json.RawMessage
	if err := yaml.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("%s is neither YAML nor JSON", file)
	}
	var own map[string]*bool
	if raw, ok := config["featureGates"]; ok {
		if err := json.Unmarshal(raw, &own); err != nil {
			return fmt.Errorf("%s: featureGates is not a table of true and false", file)
		}
	}
	for name, on := range maps.All(own) {
		if on == nil {
			delete(gates, name) // a drop-in can remove an earlier value
		} else {
			gates[name] = *on
		}
	}
	return nil
}

// mostListings bounds how often the records are listed again because one was
// renamed or removed meanwhile.
const mostListings = 10

// readPulls reads the records in a directory. An unreadable record counts for
// every image.
func readPulls(dir string) (plan.Pulls, error) {
	var now plan.Pulls
	for range mostListings {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return plan.Pulls{}, describe(err)
		}
		vanished := false
		now = plan.Pulls{}
		for _, e := range entries {
			image, err := readPull(filepath.Join(dir, e.Name()))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				// It may have another name now that was not listed: the kubelet writes a
				// record elsewhere and renames it.
				vanished = true
			case err != nil:
				now.Unread++
			default:
				now.Images = append(now.Images, image)
			}
		}
		if !vanished {
			return now, nil
		}
	}
	now.Unread++
	return now, nil
}

func readPull(path string) (mirror.Image, error) {
	data, err := input.ReadFile(path, 0)
	if err != nil {
		return mirror.Image{}, err
	}
	var intent struct {
		Image string `json:"image"`
	}
	if err := json.Unmarshal(data, &intent); err != nil {
		return mirror.Image{}, errors.New("not a record")
	}
	return mirror.ParseImage(intent.Image)
}
