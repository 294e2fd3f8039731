package provider

import (
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
)

// Environment returns the environment of the kubelet that runs on this machine:
// its providers inherit it, and it may name a proxy. It is nil if no kubelet runs,
// or if its environment cannot be seen.
func Environment() []string {
	sight, err := kubelet.Running(process.Proc)
	if err != nil || len(sight.Kubelets) == 0 {
		return nil
	}
	env, err := process.Proc.Environment(sight.Kubelets[0].PID)
	if err != nil {
		return nil
	}
	return env
}
