package node

import (
	"errors"
	"io/fs"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// delivery returns the value of a header whose credential is handed over, and what else
// is known of it. Below another root, and for an image, nothing is read: no live
// credential goes there.
func (n *Node) delivery(key string) (string, plan.Delivery) {
	if n.elsewhere || n.NoDelivery {
		return unread, plan.Delivery{Missing: true}
	}
	store := handover.New(n.path(handover.Dir))
	var d plan.Delivery
	fault, err := store.Fault(key)
	if d.Reason = fault.Reason; err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Reason = describe(err).Error()
	}
	v, err := store.Value(key)
	if err != nil {
		if d.Missing = true; !errors.Is(err, fs.ErrNotExist) {
			d.Reason = describe(err).Error()
		}
		return unread, d
	}
	d.Realm, d.Until, d.From, d.Issued, d.Renew = v.Realm, v.Until, v.From, v.Issued, v.Renew
	return v.Authorization.Reveal(), d
}

// DeliveryKeys returns the delivery keys of the map that was last read without a fault;
// nil if none was.
func (n *Node) DeliveryKeys() map[string]bool {
	if n.parsed.m == nil {
		return nil
	}
	return n.parsed.m.DeliveryKeys()
}
