package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
)

// TestWatchCertificates checks that a watcher notices by their events when the CA
// and client files of a map come, break and are repaired, and says what it knows
// of them in its status.
func TestWatchCertificates(t *testing.T) {
	n := newTree(t)
	files := tlstest.Files(time.Now())
	const ca, cert, key = "etc/ssl/corp/ca.pem", "etc/pki/client.crt", "etc/pki/client.key"
	n.write(mapPath, `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["hub.corp"]
[registry."hub.corp"]
ca = "/`+ca+`"
client = [["/`+cert+`", "/`+key+`"]]
`)
	_, stop := n.watch("--tick", "1h")
	n.until("a warning of each file", func() bool { s := n.status(); return len(s.Pending) == 2 && len(s.Warnings) == 3 })
	if got := n.status().Warnings[0]; got.Name != "ca-missing" || !strings.HasSuffix(got.Where, "mirrors.toml:6") || !strings.Contains(got.Text, filepath.Join(n.root, ca)) {
		t.Errorf("the first warning is %+v", got)
	}
	if n.read(hostsPath) != "" {
		t.Error("the source was set up without its files")
	}
	n.write(ca, string(files["good.crt"]))
	n.write(cert, string(files["good.crt"]))
	n.write(key, string(files["good.key"]))
	n.until("set up", func() bool { return n.read(hostsPath) != "" && len(n.status().Warnings) == 0 })

	for _, one := range []struct{ file, bad, good, says string }{
		{ca, "empty", "good.crt", "is empty"},
		{cert, "other.crt", "good.crt", "does not belong to the certificate"},
		{key, "encrypted.key", "good.key", "holds an encrypted private key"},
	} {
		n.write(one.file, string(files[one.bad]))
		n.until(one.says, func() bool {
			s := n.status()
			return !s.InSync && len(s.Faults) == 2 && s.Faults[0].Source == "mcr.microsoft.com" && strings.Contains(s.Faults[0].Reason, one.says)
		})
		if n.read(hostsPath) == "" {
			t.Errorf("%s: the source was turned off", one.says)
		}
		n.write(one.file, string(files[one.good]))
		n.until("repaired", func() bool { s := n.status(); return s.InSync && len(s.Faults) == 0 })
	}
	if log := stop(); strings.Count(log, "source not applied") != 6 || strings.Count(log, "source applied again") != 6 || strings.Contains(log, "PRIVATE") {
		t.Errorf("the log is\n%s", log)
	}
}
