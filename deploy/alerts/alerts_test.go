// Package alerts tests the alerts and the dashboard: Prometheus' own parser reads the
// rules, its own engine evaluates them on written series, and the watcher serves each
// metric that they name.
package alerts

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
)

const (
	rulesFile  = "mirrorcred.yaml"
	operations = "../../docs/operations.md"
)

// readRules parses the rules as Prometheus does.
func readRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rulesFile, false, model.UTF8Validation, language, slog.Default())
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) > 0 || len(groups.Groups) != 1 {
		t.Fatalf("%d groups; want one", len(groups.Groups))
	}
	return groups.Groups[0].Rules
}

// TestRules checks that each alert says what is wrong and leads to its section of the
// documentation, and that each section there has its alert.
func TestRules(t *testing.T) {
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if name, ok := strings.CutPrefix(line, "### Mirrorcred"); ok {
			headings["Mirrorcred"+strings.TrimSpace(name)] = true
		}
	}
	for _, r := range readRules(t) {
		if !headings[r.Alert] {
			t.Errorf("%s: docs/operations.md has no heading \"### %s\"", r.Alert, r.Alert)
		}
		delete(headings, r.Alert)
		if url := r.Annotations["runbook_url"]; !strings.HasSuffix(url, "/docs/operations.md#"+strings.ToLower(r.Alert)) {
			t.Errorf("%s: the runbook is %s", r.Alert, url)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.For == 0 {
			t.Errorf("%s has no summary, no description or no time", r.Alert)
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: the severity is %q", r.Alert, s)
		}
	}
	for name := range headings {
		t.Errorf("docs/operations.md describes %s, and there is no such alert", name)
	}
}

// A situation is what Prometheus has seen, and what an alert makes of it.
type situation struct {
	name   string
	series []string
	fires  time.Duration // when it first does; never if negative
}

const never = -1

// situations are by alert. Series begin at the time 0.
var situations = map[string][]situation{
	"MirrorcredDown": {
		{"does not answer", []string{`up{job="mirrorcred",instance="a"} 1x4 0x20`, `up{job="mirrorcred",instance="b"} 1x24`}, 10 * time.Minute},
		{"is restarted", []string{`up{job="mirrorcred",instance="a"} 1x4 0x3 1x17`}, never},
		{"another job", []string{`up{job="node",instance="a"} 0x24`}, never},
	},
	"MirrorcredMapNotApplied": {
		{"a fault of the map", []string{`mirrorcred_config_error{reason="map"} 0x4 1x20`, `mirrorcred_config_error{reason="disk"} 0x24`}, 10 * time.Minute},
		{"a fault of a source", []string{`mirrorcred_config_error{reason="map"} 0x24`, `mirrorcred_sources{state="failed"} 0x4 2x20`}, 10 * time.Minute},
		{"corrected in time", []string{`mirrorcred_config_error{reason="map"} 1x3 0x20`}, never},
		{"other states", []string{`mirrorcred_sources{state="active"} 3x24`, `mirrorcred_sources{state="pending"} 1x24`}, never},
	},
	"MirrorcredNotReconciling": {
		{"stuck", []string{`mirrorcred_last_reconcile_timestamp_seconds 0+60x10 600x20`, `process_start_time_seconds 0x30`}, 17 * time.Minute},
		{"stuck in its first pass", []string{`mirrorcred_last_reconcile_timestamp_seconds 0x30`, `process_start_time_seconds 0x30`}, 7 * time.Minute},
		{"just started", []string{`mirrorcred_last_reconcile_timestamp_seconds _x20 0x4 1440+60x20`, `process_start_time_seconds _x20 1200x24`}, never},
		{"reconciles", []string{`mirrorcred_last_reconcile_timestamp_seconds 0+60x30`, `process_start_time_seconds 0x30`}, never},
	},
	"MirrorcredOutOfSync": {
		{"held", []string{`mirrorcred_in_sync{instance="a"} 1x4 0x30`, `mirrorcred_sources{instance="a",state="pending"} 0x34`, `mirrorcred_sources{instance="a",state="draining"} 0x34`}, 20 * time.Minute},
		{"pending", []string{`mirrorcred_in_sync{instance="a"} 0x34`, `mirrorcred_sources{instance="a",state="pending"} 1x34`}, never},
		{"draining", []string{`mirrorcred_in_sync{instance="a"} 0x34`, `mirrorcred_sources{instance="a",state="draining"} 2x34`}, never},
		{"another node is pending", []string{`mirrorcred_in_sync{instance="a"} 0x34`, `mirrorcred_sources{instance="b",state="pending"} 1x34`}, 15 * time.Minute},
		{"in sync", []string{`mirrorcred_in_sync{instance="a"} 1x34`}, never},
	},
	"MirrorcredKubeletRestartRequired": {
		{"for long", []string{`mirrorcred_kubelet_restart_required 0x9 1x80`}, 70 * time.Minute},
		{"restarted", []string{`mirrorcred_kubelet_restart_required 1x55 0x30`}, never},
	},
	"MirrorcredConflictingFiles": {
		{"one file", []string{`mirrorcred_conflicting_files 0x4 1x30`}, 20 * time.Minute},
		{"moved away", []string{`mirrorcred_conflicting_files 1x12 0x20`}, never},
	},
	"MirrorcredFilesReverted": {
		{"again and again", []string{`mirrorcred_reconciles_total{result="backoff"} 0x9 1+2x20`}, 12 * time.Minute},
		{"other passes", []string{`mirrorcred_reconciles_total{result="backoff"} 0x30`, `mirrorcred_reconciles_total{result="changed"} 0+2x30`}, never},
	},
	"MirrorcredPluginRefuses": {
		{"each pull", []string{`mirrorcred_plugin_runs_total{outcome="refused",reason="not-armed"} 0x5 1+1x30`, `mirrorcred_plugin_runs_total{outcome="answered",credential="azure"} 0+1x35`}, 16 * time.Minute},
		{"another reason each", []string{`mirrorcred_plugin_runs_total{outcome="refused",reason="not-armed"} 0x5 1x2 1x27`, `mirrorcred_plugin_runs_total{outcome="refused",reason="draining"} 0x20 1x14`}, never},
		{"failed, not refused", []string{`mirrorcred_plugin_runs_total{outcome="failed",reason="fetch",credential="azure"} 0+1x35`}, never},
	},
	"MirrorcredTokenFetchesFail": {
		{"one in five", []string{
			`mirrorcred_plugin_credentials_total{instance="a",credential="azure",result="failed"} 0+1x60`,
			`mirrorcred_plugin_credentials_total{instance="b",credential="azure",result="failed"} 0x60`,
			`mirrorcred_plugin_credentials_total{instance="b",credential="azure",result="fetched"} 0+4x60`,
		}, 11 * time.Minute},
		{"one in twenty", []string{
			`mirrorcred_plugin_credentials_total{credential="azure",result="failed"} 0+1x60`,
			`mirrorcred_plugin_credentials_total{credential="azure",result="fetched"} 0+19x60`,
		}, never},
		{"none needed", []string{`mirrorcred_plugin_credentials_total{credential="azure",result="failed"} 0x60`, `mirrorcred_plugin_credentials_total{credential="azure",result="fetched"} 0x60`}, never},
		{"another credential", []string{
			`mirrorcred_plugin_credentials_total{credential="azure",result="fetched"} 0+1x60`, `mirrorcred_plugin_credentials_total{credential="azure",result="failed"} 0x60`,
			`mirrorcred_plugin_credentials_total{credential="harbor",result="cached"} 0+1x60`,
		}, never},
	},
	"MirrorcredTwoMaps": {
		{"a rollout that stopped", []string{`mirrorcred_map_info{instance="a",ring="one",hash="x"} 1x90`, `mirrorcred_map_info{instance="b",ring="one",hash="x"} 1x9`, `mirrorcred_map_info{instance="b",ring="one",hash="y"} _x10 1x80`}, 70 * time.Minute},
		{"one map a ring", []string{`mirrorcred_map_info{instance="a",ring="one",hash="x"} 1x90`, `mirrorcred_map_info{instance="b",ring="two",hash="y"} 1x90`}, never},
		{"a rollout that ends", []string{`mirrorcred_map_info{instance="a",hash="x"} 1x40`, `mirrorcred_map_info{instance="b",hash="y"} 1x90`}, never},
	},
	"MirrorcredCredentialExpires": {
		{"in two weeks", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="azure"} 1210200x90`, `mirrorcred_credential_issued_timestamp_seconds{credential="azure"} -31536000x90`}, 26 * time.Minute},
		{"it is not known since when", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="azure"} 86400x90`}, 15 * time.Minute},
		{"short, but renewed", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="ecr"} 43200+60x90`, `mirrorcred_credential_issued_timestamp_seconds{credential="ecr"} 0+60x90`}, never},
		{"short, and not renewed", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="ecr"} 600x90`, `mirrorcred_credential_issued_timestamp_seconds{credential="ecr"} -600x90`}, 26 * time.Minute},
		{"in a year", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="azure"} 31536000x90`}, never},
		{"in hosts.toml, where it is renewed", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="ecr",registry="r"} 43200x90`}, never},
	},
	"MirrorcredCredentialNotRenewed": {
		{"renewed", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="ecr",registry="r"} 3600x30 5400x30 7200x30`, `mirrorcred_credential_issued_timestamp_seconds{credential="ecr",registry="r"} 0x30 1800x30 3600x30`}, never},
		{"past the middle of its life", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="ecr",registry="r"} 3600x90`, `mirrorcred_credential_issued_timestamp_seconds{credential="ecr",registry="r"} 0x90`}, 52 * time.Minute},
		{"refused", []string{`mirrorcred_delivery_failing{credential="harbor",registry="r"} 0x9 1x80`}, 25 * time.Minute},
		{"no end, and no fault", []string{`mirrorcred_delivery_failing{credential="harbor",registry="r"} 0x90`, `mirrorcred_credential_issued_timestamp_seconds{credential="harbor",registry="r"} 0x90`}, never},
		{"a file's, which no program renews", []string{`mirrorcred_credential_expiry_timestamp_seconds{credential="azure"} 3600x90`, `mirrorcred_credential_issued_timestamp_seconds{credential="azure"} 0x90`}, never},
	},
}

// TestAlertsFire has each alert fire when it should, and not before, and not otherwise.
func TestAlertsFire(t *testing.T) {
	known := map[string]bool{}
	for _, r := range readRules(t) {
		known[r.Alert] = true
		fired := false
		for _, s := range situations[r.Alert] {
			m := evaluate(t, write(t, s.series...), r.Expr, 90*time.Minute)
			if at := firstAlert(m, time.Duration(r.For)); at != s.fires {
				t.Errorf("%s, %s: it fires at %v; want %v\n%v", r.Alert, s.name, at, s.fires, m)
			}
			fired = fired || s.fires != never
		}
		if len(situations[r.Alert]) < 2 || !fired {
			t.Errorf("%s: no situation has it fire, or none has it not", r.Alert)
		}
	}
	for name := range situations {
		if !known[name] {
			t.Errorf("there is no alert %s", name)
		}
	}
}
