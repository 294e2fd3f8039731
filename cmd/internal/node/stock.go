package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/azure/azurejson"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// checkIdentity refuses an identity with which that plugin returns nothing for
// a mirror (kubernetes-sigs/cloud-provider-azure, azure_credentials.go,
// GetCredentials). A missing file is fine: it may come when the node joins.
func (n *Node) checkIdentity(file string) error {
	name := n.path(file)
	data, info, err := n.tree.Read(name, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return describe(err)
	}
	if err := owned(name, info); err != nil {
		return untrusted("other users can change the identity of the node", err)
	}
	azure, err := azurejson.Read(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !azure.Managed {
		return &fault.Fault{
			What: fmt.Sprintf("%s would silently return no credential for a mirror", mirror.Stock), Where: name, Found: "no managed identity, but a service principal",
			Fix: "set useManagedIdentityExtension: true there, or leave plugin under [kubelet] out of the map", Until: plan.NotApplied,
		}
	}
	return nil
}

// unmap removes the mirrors from the kubelet's configuration, if the last good map
// has them there: it is [Node.disarm] for that plugin. The error names a kubelet
// that still has them.
func (n *Node) unmap(ctx context.Context) error {
	if n.driven == nil {
		return nil
	}
	m := *n.driven
	m.Mirrors = nil
	o, err := n.observe(&m, nil, func() (plan.RouteFiles, error) { return plan.RouteFiles{}, nil })
	if err != nil {
		return err
	}
	now, err := n.now()
	if err != nil {
		return err
	}
	n.observeKubelets(&o)
	var u plan.Unmapping
	err = n.answered(&m, &o, now, func() (questions []plan.Question, err error) {
		u, questions, err = plan.Unmap(n.desire(&m, nil), o, now)
		return questions, err
	})
	if err != nil || !u.There {
		return err
	}
	// Even if the run is interrupted: stopping the plugin comes first.
	if err := n.carryOut(context.WithoutCancel(ctx), &u.Plan, nil); err != nil {
		return err
	}
	return u.Still
}
