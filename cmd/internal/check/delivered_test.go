package check

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/systemd"
)

const deliveredMap = theMap + `[[mirror]]
source = "ghcr.io"
targets = ["harbor.corp", "ghcr.io"]
[registry."harbor.corp"]
credential = "robot"
deliver = "hosts"
[credential.robot]
kind = "docker-config"
path = "/etc/robot.json"
`

// delivered are the hosts.toml files with a credential, by their source.
var delivered = []string{"ghcr.io", "harbor.corp"}

// newDelivered returns a node with a credential in hosts.toml, with what asks registries
// for it, on which nothing is wrong.
func newDelivered(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.write(mapFile, deliveredMap)
	h.write("/etc/robot.json", `{"auths": {"harbor.corp": {"username": "robot", "password": "CANARY"}}}`)
	h.chmod("/etc/robot.json", 0o600)
	h.apply()
	m, err := node.New(h.root, "", false).ReadMap()
	h.must(err)
	secrets := map[string]string{}
	for key := range m.DeliveryKeys() {
		secrets[key] = "Basic CANARY"
	}
	files, err := hosts.Render(m, hosts.Options{Secrets: secrets})
	h.must(err)
	for _, f := range files {
		if slices.Contains(delivered, f.Namespace) {
			h.write(tree+f.Namespace+"/hosts.toml", string(f.Data))
			h.chmod(tree+f.Namespace+"/hosts.toml", 0o600)
			h.chmod(tree+f.Namespace, 0o700)
		}
	}
	h.write(node.DeliverWanted, "")
	for _, unit := range []string{systemd.DeliverUnit, systemd.DeliverPathUnit} {
		h.write("/etc/systemd/system/"+unit, "[Unit]\n")
	}
	h.enable()
	h.answer, h.deliverer = &Watcher{Version: "v2"}, &Deliverer{Runs: true}
	return h
}

// leftToNode is what is found of every such node below a root.
const leftToNode = "note credential-left-to-node"

func (h *host) namesDelivered(found []Finding) []string {
	h.Helper()
	names := h.names(found)
	if !slices.Contains(names, leftToNode) && !slices.Contains(names, "error map-invalid") {
		h.Errorf("found %q without %q", names, leftToNode)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == leftToNode })
}

func reads(path string, ways ...string) []broken {
	var list []broken
	for _, text := range ways {
		list = append(list, broken{"a secret for the source: " + text, func(h *host) {
			h.write(path, text)
			h.chmod(path, 0o600)
		}, []string{"error root-header-without-server"}, func(h *host) { h.remove(path) }})
	}
	return list
}

// closedTree writes a file of another program that only root can read.
func closedTree(name, text string) func(h *host) {
	return func(h *host) {
		otherTree(name, text)(h)
		h.chmod(tree+name+"/hosts.toml", 0o600)
	}
}

var brokenDelivered = slices.Concat(reads(tree+"gcr.io/hosts.toml",
	"header = { Authorization = \"Basic CANARY\" }\n[host.\"https://harbor.corp\"]\n",
	"header = { authorization = [\"Bearer CANARY\"] }\n",
	"[header]\nAuthorization = \"Basic CANARY\"\n",
	"server = \"\"\n[header]\nAuthorization = [\"Basic CANARY\"]\n[host.\"https://harbor.corp\"]\n",
), []broken{
	{"a root header with its server", closedTree("gcr.io", "server = \"https://harbor.corp\"\nheader = { Authorization = \"Basic CANARY\" }\n[host]\n"), []string{}, nil},
	{"a harmless root header", closedTree("gcr.io", "header = { X-Meta-Source-Client = \"aks\" }\n[host.\"https://harbor.corp\"]\n"), []string{}, nil},
	{"mirrorcred's file with its server cut off", func(h *host) {
		h.write(tree+"ghcr.io/hosts.toml", "header = { Authorization = \"Basic CANARY\" }\n[host]\n")
		h.chmod(tree+"ghcr.io/hosts.toml", 0o600)
	}, []string{"error foreign", "error root-header-without-server"}, func(h *host) { h.remove(tree + "ghcr.io/hosts.toml") }},
	{"a header on http", closedTree("gcr.io", "[host.\"http://harbor.corp:5000\"]\nheader = { Authorization = \"Basic CANARY\" }\n"), []string{"warning secret-over-http"}, nil},
	{"a root header on http", closedTree("gcr.io", "server = \"http://harbor.corp:5000\"\nheader = { authorization = [\"Bearer CANARY\"] }\n[host]\n"), []string{"warning secret-over-http"}, nil},
	{"a header on https with http behind it", closedTree("gcr.io", "[host.\"http://harbor.corp:5000\"]\nskip_verify = false\nheader = { Authorization = \"Basic CANARY\" }\n"), []string{"warning http-with-tls-keys", "warning secret-over-http"}, nil},
	{"a header on https", closedTree("gcr.io", "[host.\"https://harbor.corp\"]\nheader = { Authorization = \"Basic CANARY\" }\n[host.\"http://other.corp:5000\"]\n"), []string{}, nil},
	{"a harmless header on http", closedTree("gcr.io", "[host.\"http://harbor.corp:5000\"]\nheader = { X-Meta-Source-Client = \"aks\" }\n"), []string{}, nil},
	{"delivery over http", func(h *host) {
		h.replace(mapFile, "targets = [\"harbor.corp\"", "targets = [\"http://harbor.corp:5000\"")
		h.replace(mapFile, "[registry.\"harbor.corp\"]", "[registry.\"harbor.corp:5000\"]")
	}, []string{"error map-invalid"}, func(h *host) { h.write(mapFile, deliveredMap) }},
	{"open files", func(h *host) {
		for _, source := range delivered {
			h.chmod(tree+source+"/hosts.toml", 0o644)
		}
	}, []string{"error world-readable-secret"}, nil},
	{"a file that a group can read", func(h *host) { h.chmod(tree+"ghcr.io/hosts.toml", 0o640) }, []string{"error world-readable-secret"}, nil},
	{"an open directory of a closed file", func(h *host) { h.chmod(tree+"ghcr.io", 0o755) }, []string{}, nil},
	{"an open docker config", func(h *host) { h.chmod("/etc/robot.json", 0o644) }, []string{"error docker-config-mode"}, nil},
	{"no watcher", func(h *host) { h.answer = nil }, []string{"warning watcher-not-running"}, func(h *host) { h.answer = &Watcher{Version: "v2"} }},
	{"no watcher at all", func(h *host) { h.answer = nil; h.remove(enabled) }, []string{"warning watcher-not-running"}, func(h *host) { h.enable(); h.answer = &Watcher{Version: "v2"} }},
	{"a watcher that is not enabled", func(h *host) { h.remove(enabled) }, []string{}, nil},
	{"no watcher, and what stops with it", func(h *host) {
		h.answer, h.deliverer = nil, &Deliverer{Path: systemd.State{Active: "inactive"}}
	}, []string{"warning watcher-not-running"}, runsAgain},
	{"another provider for the source", provider("ghcr.io"), []string{"warning duplicate-answer"}, nil},
	{"another provider for all sources", provider("\"*.io\""), []string{"warning duplicate-answer"}, nil},
	{"the stock plugin with the mirror's credential", providerWith("acr-credential-provider", "ghcr.io", "    args: [/etc/kubernetes/azure.json, \"--registry-mirror=ghcr.io:harbor.corp\"]\n"), []string{"warning duplicate-answer"}, nil},
	{"another provider for the mirror itself", provider("harbor.corp"), []string{}, nil},
	{"a login of the node's own for the source", func(h *host) {
		h.write("/var/lib/kubelet/config.json", `{"auths": {"ghcr.io": {"username": "u", "password": "CANARY"}}}`)
	}, []string{"warning node-docker-config-answers"}, nil},
	{"no unit", func(h *host) {
		stopped(h, systemd.State{}, systemd.State{})
		h.remove("/etc/systemd/system/" + systemd.DeliverUnit)
	},
		[]string{"error deliver-not-running"}, runsAgain},
	{"no path unit", func(h *host) {
		stopped(h, systemd.State{}, systemd.State{})
		h.remove("/etc/systemd/system/" + systemd.DeliverPathUnit)
	},
		[]string{"error deliver-not-running"}, runsAgain},
	{"no unit and no watcher", func(h *host) {
		h.answer = nil
		stopped(h, systemd.State{}, systemd.State{})
		h.remove("/etc/systemd/system/" + systemd.DeliverUnit)
	},
		[]string{"error deliver-not-running", "warning watcher-not-running"}, runsAgain},
	{"a masked unit", masked(systemd.DeliverUnit), []string{"error deliver-not-running"}, runsAgain},
	{"a masked path unit", masked(systemd.DeliverPathUnit), []string{"error deliver-not-running"}, runsAgain},
	{"it failed", func(h *host) {
		stopped(h, systemd.State{Active: "active"}, systemd.State{Active: "failed", Sub: "failed", Result: "exit-code"})
	}, []string{"error deliver-not-running"}, runsAgain},
	{"it fails again and again", func(h *host) {
		stopped(h, systemd.State{Active: "active"}, systemd.State{Active: "activating", Sub: "auto-restart", Result: "oom-kill"})
	}, []string{"error deliver-not-running"}, runsAgain},
	{"a path that is not active", func(h *host) { stopped(h, systemd.State{Active: "inactive"}, systemd.State{Active: "inactive"}) },
		[]string{"error deliver-not-running"}, runsAgain},
	{"not wanted", func(h *host) {
		stopped(h, systemd.State{Active: "active"}, systemd.State{Active: "inactive"})
		h.remove(node.DeliverWanted)
	},
		[]string{"error deliver-not-running"}, runsAgain},
	{"no reason", func(h *host) { stopped(h, systemd.State{}, systemd.State{}) }, []string{"error deliver-not-running"}, runsAgain},
	{"stopped, and no registry to ask", func(h *host) { stopped(h, systemd.State{}, systemd.State{}); h.deliverer.Runs = true }, []string{}, nil},
})

// stopped has what asks registries not run.
func stopped(h *host, path, service systemd.State) {
	h.deliverer = &Deliverer{Path: path, Service: service}
}

// masked masks a unit, below a directory in which it is installed.
func masked(unit string) func(h *host) {
	return func(h *host) {
		stopped(h, systemd.State{}, systemd.State{})
		h.remove("/etc/systemd/system/" + unit)
		h.write("/usr/lib/systemd/system/"+unit, "[Unit]\n")
		h.link("/dev/null", "/etc/systemd/system/"+unit)
	}
}

// runsAgain does what the findings about units say.
func runsAgain(h *host) {
	for _, unit := range []string{systemd.DeliverUnit, systemd.DeliverPathUnit} {
		h.remove("/etc/systemd/system/" + unit)
		h.write("/etc/systemd/system/"+unit, "[Unit]\n")
	}
	h.write(node.DeliverWanted, "")
	h.answer, h.deliverer = &Watcher{Version: "v2"}, &Deliverer{Runs: true}
}

// whys are what is reported for what does not run: in the text, and in the repair.
var whys = map[string][2]string{
	"no unit":                   {"mirrorcred-deliver.service is not installed", "mirrorcred units --install"},
	"no path unit":              {"mirrorcred-deliver.path is not installed", "mirrorcred units --install"},
	"a masked unit":             {"mirrorcred-deliver.service is masked", "systemctl unmask mirrorcred-deliver.service"},
	"a masked path unit":        {"mirrorcred-deliver.path is masked", "systemctl unmask mirrorcred-deliver.path"},
	"it failed":                 {"does not stay up (exit-code)", "journalctl -u mirrorcred-deliver"},
	"it fails again and again":  {"does not stay up (oom-kill)", "journalctl -u mirrorcred-deliver"},
	"a path that is not active": {"mirrorcred-deliver.path is not active", "systemctl start mirrorcred-deliver.path"},
	"not wanted":                {"deliver-wanted does not exist", "mirrorcred apply"},
	"no reason":                 {"mirrorcred-deliver does not run", "systemctl restart mirrorcred-deliver.service"},
}

// TestBrokenDelivered is TestBrokenNodes for a node with a credential in hosts.toml.
func TestBrokenDelivered(t *testing.T) {
	h := newDelivered(t)
	if found := h.namesDelivered(h.observe()); len(found) > 0 {
		t.Fatalf("on a healthy node there is %q", found)
	}
	for _, tt := range brokenDelivered {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			h := newDelivered(t)
			tt.spoil(h)
			found := h.observe()
			if got := h.namesDelivered(found); !slices.Equal(got, tt.want) {
				t.Errorf("found %q; want %q", got, tt.want)
			}
			for _, f := range found {
				why, ok := whys[tt.name]
				if f.Name == doctor.DeliverNotRunning && ok && (!strings.Contains(f.Text, why[0]) || !strings.Contains(f.Repair, why[1])) {
					t.Errorf("found %s; want %q", f.Finding, why)
				}
			}
			if tt.repair != nil {
				tt.repair(h)
			} else {
				h.repair(slices.DeleteFunc(slices.Clone(found), func(f Finding) bool { return f.Name == doctor.CredentialLeftToNode }))
			}
			left := h.observe()
			if got := h.namesDelivered(left); len(got) > 0 {
				t.Errorf("once it is repaired there is %q", got)
			}
			if t.Failed() {
				for _, f := range slices.Concat(found, left) {
					t.Logf("%s %s: %s", f.Severity, f.Name, f.Finding)
				}
			}
		})
	}
}

// TestDeliverNotRunning checks what is reported for a process that does not run: what to do, the
// last fault that it left, and nothing twice.
func TestDeliverNotRunning(t *testing.T) {
	waits := plan.NewPending("ghcr.io", fault.Fault{Name: doctor.NotDelivered, What: "waits for the credential of \"harbor.corp\"", Fix: plan.SeeDeliverLog})
	refused := plan.NewPending("ghcr.io", fault.Fault{Name: doctor.NotDelivered, What: "waits for the credential of \"harbor.corp\": harbor.corp: it answers 401", Fix: "correct the credential"})
	late := doctor.Finding{Name: doctor.CredentialNotRenewed, Where: "/m:7", Text: "it expires", Repair: plan.SeeDeliverLog}
	for name, test := range map[string]struct {
		plan  plan.Plan
		fault string
		want  []string
		text  string
	}{
		"a new one":         {plan.Plan{}, "", []string{"error deliver-not-running"}, "does not run"},
		"the last fault":    {plan.Plan{}, "it answers 401; correct it", []string{"error deliver-not-running"}, "before that it failed: harbor.corp: it answers 401"},
		"nothing delivered": {plan.Plan{Pending: []plan.Pending{waits}}, "", []string{"error deliver-not-running"}, ""},
		"refused before":    {plan.Plan{Pending: []plan.Pending{refused}}, "it answers 401; correct it", []string{"error credential-not-delivered", "error deliver-not-running"}, ""},
		"not renewed":       {plan.Plan{Warnings: []doctor.Finding{late}}, "", []string{"error deliver-not-running"}, ""},
	} {
		h := newDelivered(t)
		m, err := node.New(h.root, "", false).ReadMap()
		h.must(err)
		if test.fault != "" {
			for key := range m.DeliveryKeys() {
				h.must(handover.New(h.root+handover.Dir).SetFault(key, handover.Fault{Registry: "harbor.corp", Reason: test.fault, At: time.Now()}))
			}
		}
		v := newVisit(Options{Root: h.root})
		v.plan(test.plan, nil)
		v.deliverer(t.Context(), Options{Deliverer: func(context.Context) Deliverer { return Deliverer{} }}, m)
		found := v.sorted()
		if got := h.names(found); !slices.Equal(got, test.want) {
			t.Errorf("%s: found %q; want %q", name, got, test.want)
		}
		var all []string
		for _, f := range found {
			all = append(all, f.Text)
		}
		if text := strings.Join(all, "\n"); !strings.Contains(text, test.text) || strings.Count(text, "it answers 401") > 1 {
			t.Errorf("%s: found\n%s", name, text)
		}
	}
}
