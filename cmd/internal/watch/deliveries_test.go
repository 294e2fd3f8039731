package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
)

// TestDeliveries reads what was delivered and what failed, and serves it, without a part
// of a credential.
func TestDeliveries(t *testing.T) {
	const canary = "CANARYOFDELIVERIES"
	dir := filepath.Join(t.TempDir(), "delivered")
	store := handover.New(dir)
	from := time.Unix(1_800_000_000, 0)
	value := handover.Value{Registry: "harbor.corp", Credential: "robot", Authorization: "Basic " + canary, From: from, Until: from.Add(time.Hour)}
	if err := errors.Join(
		store.SetValue("a", value), store.SetFault("a", handover.Fault{Registry: "harbor.corp", Reason: "it answers 503", At: from}),
		store.SetFault("b", handover.Fault{Registry: "ecr.corp", Reason: "no identity", At: from}),
		os.WriteFile(filepath.Join(dir, "c.json"), []byte(canary), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	if value.Until, value.Registry = (time.Time{}), "zot.corp"; store.SetValue("d", value) != nil {
		t.Fatal("a value without an end is not written")
	}
	list := ReadDeliveries(dir, nil)
	if len(list) != 4 || list[0].Fault != "it answers 503" || !list[0].Until.Equal(from.Add(time.Hour)) || list[1].Registry != "ecr.corp" || list[2].Fault == "" || list[3].Fault != "" {
		t.Errorf("the deliveries are %+v", list)
	}
	s := NewStatusStore("v", "/m")
	s.SetDeliveries(list)
	page := string(NewMetrics(s, func(string) string { return "" }, func(string) bool { return true }).expose())
	for _, want := range []string{
		`mirrorcred_credential_expiry_timestamp_seconds{credential="robot",registry="harbor.corp"} 1.8000036e+09`,
		`mirrorcred_credential_issued_timestamp_seconds{credential="robot",registry="harbor.corp"} 1.8e+09`,
		`mirrorcred_delivery_failing{credential="robot",registry="harbor.corp"} 1`,
		`mirrorcred_delivery_failing{credential="",registry="ecr.corp"} 1`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the page has no %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, canary) {
		t.Errorf("the page has a credential:\n%s", page)
	}
	if list := ReadDeliveries(filepath.Join(dir, "none"), nil); len(list) != 0 {
		t.Errorf("without a directory: %+v", list)
	}
	// What an earlier map wanted has expired for no mirror.
	if list := ReadDeliveries(dir, map[string]bool{"b": true, "e": true}); len(list) != 1 || list[0].Registry != "ecr.corp" {
		t.Errorf("of the wanted ones there are %+v", list)
	}
	if list := ReadDeliveries(dir, map[string]bool{}); len(list) != 0 {
		t.Errorf("of a map without one there are %+v", list)
	}
}
