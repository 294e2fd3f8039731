package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// missesMounts runs the courier without each of its mounts, with no other courier there.
func (f fleet) missesMounts() {
	f.Helper()
	for mount, reason := range map[string]string{
		"map":       "/map/mirrors.toml does not exist; mount the ConfigMap there, with the key mirrors.toml; the map that was delivered last stays",
		"pod":       "/pod/allowed.toml does not exist; mount there what the node allows",
		"delivered": "/etc/mirrorcred/delivered",
		"status":    "/run/mirrorcred/status/status.sock",
	} {
		f.runCourier("without-"+mount, "default", func(courier map[string]any) {
			courier["volumeMounts"] = slices.DeleteFunc(courier["volumeMounts"].([]any), func(m any) bool { return m.(map[string]any)["name"] == mount })
		})
		f.unready("without-"+mount, reason)
		f.endCourier("without-" + mount)
	}
}

// installerMissesMounts runs the installer without each of its mounts, on a node that is
// set up: it fails, says which one is missing, and changes nothing.
func (f fleet) installerMissesMounts() {
	f.Helper()
	before := treeOf(f.T)
	for mount, reason := range map[string]string{
		"map":       "/map/mirrors.toml does not exist; mount it into the pod",
		"pod":       "/pod/allowed.toml does not exist; mount it into the pod",
		"delivered": "/etc/mirrorcred/delivered is not a directory; mount the node's into the pod as a hostPath",
		"programs":  "/usr/local/lib/mirrorcred is not a directory; mount the node's into the pod as a hostPath",
		"units":     "/etc/systemd/system is not a directory; mount the node's into the pod as a hostPath",
		"dbus":      "in a container, mount the node's /run/dbus",
	} {
		name := "installer-without-" + mount
		f.runPart(name, "default", func(spec map[string]any) {
			installer := spec["initContainers"].([]any)[0].(map[string]any)
			installer["volumeMounts"] = slices.DeleteFunc(installer["volumeMounts"].([]any), func(m any) bool { return m.(map[string]any)["name"] == mount })
			delete(spec, "initContainers")
			spec["containers"] = []any{installer}
		})
		within(f.T, time.Minute, func() error {
			files, err := filepath.Glob("/run/log/pods/mirrorcred_" + name + "_*/install/*.log")
			var all []byte
			for _, file := range files {
				data, _ := os.ReadFile(file)
				all = append(all, data...)
			}
			if !strings.Contains(string(all), reason) {
				return errors.Join(err, fmt.Errorf("the log of %s has no %q:\n%s", name, reason, all))
			}
			return nil
		})
		f.endCourier(name)
	}
	if changes := slices.DeleteFunc(before.changes(treeOf(f.T), false), isOthers); len(changes) > 0 {
		f.Errorf("an installer without a mount changes:\n%s", strings.Join(changes, "\n"))
	}
	f.pulls(1, "installer-without-mounts")
}

// withoutImage rolls out an image that is in no registry: the node has no pod of
// mirrorcred then, and pulls as before.
func (f fleet) withoutImage() {
	f.Helper()
	f.image = pauseRegistry + "/mirrorcred:gone"
	f.rollOut(rolloutValues(retargeted(1), retargeted(1)))
	within(f.T, time.Minute, func() error {
		p, ok := f.pods("canary")["node"]
		if !ok {
			return errors.New("the node has no pod of mirrorcred yet")
		}
		var pod struct {
			Status struct {
				InitContainerStatuses []struct {
					State struct{ Waiting struct{ Reason string } }
				}
			}
		}
		if err := p.object.Into(&pod); err != nil {
			return err
		}
		for _, c := range pod.Status.InitContainerStatuses {
			if reason := c.State.Waiting.Reason; reason == "ErrImagePull" || reason == "ImagePullBackOff" {
				return nil
			}
		}
		return fmt.Errorf("the pod does not wait for its image: %+v", pod.Status)
	})
	f.pulls(1, "without-image")
}
