package watch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

func TestMetrics(t *testing.T) {
	s := NewStatusStore("1.2.3", "/map")
	m := NewMetrics(s, noLog, isArmed)
	reports := []Report{
		{Plan: plan.Plan{
			Sources: 7, Pending: []plan.Pending{{}, {}}, Draining: []plan.Pending{{}}, Conflicts: []plan.Conflict{{}, {}, {}}, Held: []plan.Pending{{}}, Faults: []plan.Pending{{}},
			Warnings: []doctor.Finding{{Name: doctor.CAMissing}}, Loss: "gone", NeedsRestart: true, Generation: "abc", Routed: true,
			Lifetimes: []doctor.Lifetime{{Credential: "harbor", From: time.Unix(1.6e9, 0), Until: time.Unix(1.8e9, 0)}, {Credential: `/etc/a"b.crt`, Until: time.Unix(1.9e9, 0)}},
		}, Took: time.Millisecond, MapTime: time.Unix(1.7e9, 0)},
		{Plan: restoring("/a", "one")}, {Plan: plan.Plan{}}, {Plan: restoring("/a", "one"), BackingOff: true}, {Err: errors.New("fault")},
	}
	s.Record(began(reports[0]))
	for _, r := range reports {
		m.Observe(r)
	}
	for _, outcome := range []RestartOutcome{Restarted, RolledBack, Restarted} {
		m.CountRestart(outcome)
	}
	text := scrape(t, m, s, "/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "mirrorcred_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, want := range []string{
		`mirrorcred_build_info{version="1.2.3"} 1`, `mirrorcred_map_info{hash="abc"} 1`, "mirrorcred_map_changed_timestamp_seconds 1.7e+09",
		"mirrorcred_armed 1", `mirrorcred_credential_expiry_timestamp_seconds{credential="harbor"} 1.8e+09`, `mirrorcred_credential_expiry_timestamp_seconds{credential="/etc/a\"b.crt"} 1.9e+09`,
		`mirrorcred_credential_issued_timestamp_seconds{credential="harbor"} 1.6e+09`,
		`mirrorcred_kubelet_restarts_total{result="restarted"} 2`, `mirrorcred_kubelet_restarts_total{result="rolled-back"} 1`, `mirrorcred_kubelet_restarts_total{result="failed"} 0`, "mirrorcred_in_sync 0",
		`mirrorcred_config_error{reason="map"} 0`, `mirrorcred_config_error{reason="containerd"} 0`,
		`mirrorcred_config_error{reason="kubelet"} 0`, `mirrorcred_config_error{reason="disk"} 0`,
		`mirrorcred_sources{state="active"} 4`, `mirrorcred_sources{state="pending"} 2`, `mirrorcred_sources{state="draining"} 1`,
		`mirrorcred_sources{state="held"} 1`, `mirrorcred_sources{state="conflict"} 0`, `mirrorcred_sources{state="failed"} 1`,
		`mirrorcred_warnings{warning="ca-missing"} 1`, "mirrorcred_kubelet_restart_required 1", "mirrorcred_containerd_restart_unsafe 1",
		"mirrorcred_conflicting_files 3", "mirrorcred_file_watching 1", "mirrorcred_file_events_dropped_total 0",
		"mirrorcred_last_change_timestamp_seconds 0", "mirrorcred_reconcile_duration_seconds_count 5",
		`mirrorcred_reconciles_total{result="unchanged"} 1`, `mirrorcred_reconciles_total{result="changed"} 1`, `mirrorcred_reconciles_total{result="held"} 1`,
		`mirrorcred_reconciles_total{result="backoff"} 1`, `mirrorcred_reconciles_total{result="error"} 1`, "process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no line begins with %q", want)
		}
	}
	if strings.Contains(text, "process_network_") {
		t.Error("the process's metrics include the host's network")
	}
	s.SetFileWatching(FileWatching{Degraded: "no watches left", Dropped: 2})
	if text := scrape(t, m, s, "/metrics"); !strings.Contains(text, "\nmirrorcred_file_watching 0\n") || !strings.Contains(text, "\nmirrorcred_file_events_dropped_total 2\n") {
		t.Errorf("without events the metrics are\n%s", text)
	}
	s.Record(began(Report{Err: errors.New("fault")}))
	if text := scrape(t, m, s, "/metrics"); !strings.Contains(text, "\nmirrorcred_config_error{reason=\"disk\"} 1\n") || strings.Contains(text, "\nmirrorcred_last_reconcile_timestamp_seconds 0\n") {
		t.Errorf("with a fault the metrics are\n%s", text)
	}
	s.Record(began(Report{Err: &plan.ConfigError{Part: plan.PartMap, Err: errors.New("fault")}}))
	if text := scrape(t, m, s, "/metrics"); !strings.Contains(text, "\nmirrorcred_config_error{reason=\"map\"} 1\n") || !strings.Contains(text, "\nmirrorcred_config_error{reason=\"disk\"} 0\n") {
		t.Errorf("with a fault of the map the metrics are\n%s", text)
	}
	if text := scrape(t, m, s, "/healthz"); text != "ok\nthe map is not applied: fault\n" {
		t.Errorf("the health is %q", text)
	}
	s.Record(began(Report{}))
	if text := scrape(t, m, s, "/metrics"); !strings.Contains(text, "\nmirrorcred_config_error{reason=\"map\"} 0\n") || !strings.Contains(text, "\nmirrorcred_in_sync 1\n") {
		t.Errorf("without the fault the metrics are\n%s", text)
	}
}

// TestMetricsDocumented checks that the table in docs/operations.md has each metric
// with its labels, and no other, and that the page names no metric but those.
func TestMetricsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	s := NewStatusStore("1.2.3", "/map")
	s.SetDeliveries([]Delivery{{Registry: "a.corp", Credential: "a"}})
	s.Record(began(Report{Plan: plan.Plan{
		Generation: "abc", Routed: true, Credentials: []string{"a"}, Warnings: []doctor.Finding{{Name: doctor.CAMissing}},
		Lifetimes: []doctor.Lifetime{{Credential: "a", From: time.Unix(1.6e9, 0), Until: time.Unix(1.8e9, 0)}},
	}}))
	log := filepath.Join(t.TempDir(), "plugin.jsonl")
	if err := audit.Append(log, audit.Event{Time: audit.Time{Time: time.Now()}, Outcome: audit.Answered, Targets: []audit.Target{{Host: "a.corp", Credential: "a"}}}); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\bmirrorcred_[a-z_]+[a-z]`)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, NewMetrics(s, func(string) string { return log }, isArmed), s, "/metrics")))
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]string{} // the labels in the order of their names, by metric
	for metric, family := range families {
		if strings.HasPrefix(metric, "mirrorcred_") {
			served[metric] = labelNames(family)
		}
	}
	documented := map[string]string{}
	for _, cell := range regexp.MustCompile("`(mirrorcred_[a-z_]+)(?:{([a-z,]*)})?`").FindAllStringSubmatch(metricsTable(t, string(data)), -1) {
		labels := strings.Split(cell[2], ",")
		slices.Sort(labels)
		documented[cell[1]] = strings.Join(labels, ",")
	}
	if !maps.Equal(served, documented) {
		t.Errorf("the metrics are\n%v\nand those of the table\n%v", served, documented)
	}
	for _, metric := range name.FindAllString(string(data), -1) {
		if _, ok := served[metric]; !ok {
			t.Errorf("docs/operations.md names %s, which is not served", metric)
		}
	}
}

// labelNames returns the names of a metric's labels.
func labelNames(family *dto.MetricFamily) string {
	names := map[string]bool{}
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ",")
}

// metricsTable returns the lines of the table of metrics.
func metricsTable(t *testing.T, page string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n| metric |")
	if !ok {
		t.Fatal("there is no table of metrics")
	}
	table, _, _ := strings.Cut(rest, "\n\n")
	return table
}

// TestPluginRuns checks what the metrics make of the plugin's log: runs count from
// the watcher's start, and the last success of a registry is found before it.
func TestPluginRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plugin.jsonl")
	s := NewStatusStore("", "")
	s.Record(Report{Plan: plan.Plan{AuditLog: "the map's", Credentials: []string{"azure", "harbor"}}})
	m := NewMetrics(s, func(auditLog string) string {
		if auditLog != "the map's" {
			return ""
		}
		return file
	}, isArmed)
	started := s.Status().Started
	ran := func(after time.Duration, outcome audit.Outcome, code audit.Code, targets ...audit.Target) {
		t.Helper()
		if err := audit.Append(file, audit.Event{Time: audit.Time{Time: started.Add(after)}, Outcome: outcome, Code: code, Targets: targets, Took: audit.Took(100 * time.Millisecond)}); err != nil {
			t.Fatal(err)
		}
	}
	has := func(text string, want ...string) {
		t.Helper()
		for _, line := range want {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("no line %q in\n%s", line, text)
			}
		}
	}
	at := func(after time.Duration) string {
		return strconv.FormatFloat(seconds(started.Add(after)), 'g', -1, 64)
	}
	if text := scrape(t, m, s, "/metrics"); strings.Contains(text, "last_success") {
		t.Errorf("without a log the metrics are\n%s", text)
	}
	ran(-time.Hour, audit.Answered, "", audit.Target{Host: "old.corp"})
	ran(-time.Hour, audit.Failed, audit.Fetch)
	ran(time.Second, audit.Answered, "", audit.Target{Host: "b.corp", Credential: "harbor", Failure: "no"}, audit.Target{Host: "a.corp", Credential: "azure"})
	ran(2*time.Second, audit.Refused, audit.NotArmed, audit.Target{Host: "c.corp"})
	ran(2*time.Second, audit.Refused, "mcr.microsoft.com/chosen-by-a-pod")
	ran(2*time.Second, audit.Failed, audit.Timeout, audit.Target{Host: "b.corp", Credential: "harbor", Failure: "no"})
	text := scrape(t, m, s, "/metrics")
	runs := func(outcome audit.Outcome, code audit.Code, credential string, n int) string {
		return fmt.Sprintf(`mirrorcred_plugin_runs_total{outcome="%s",reason="%s",credential="%s"} %d`, outcome, code, credential, n)
	}
	uses := func(credential, result string, n int) string {
		return fmt.Sprintf(`mirrorcred_plugin_credentials_total{credential="%s",result="%s"} %d`, credential, result, n)
	}
	has(text, runs(audit.Answered, "", "azure", 1), runs(audit.Refused, audit.NotArmed, "", 1), runs(audit.Refused, audit.Other, "", 1),
		runs(audit.Failed, audit.Fetch, "azure", 0), runs(audit.Failed, audit.Timeout, "harbor", 1), runs(audit.Empty, "", "", 0),
		runs(audit.Refused, audit.Draining, "", 0), uses("azure", useFetched, 1), uses("azure", useCached, 0), uses("harbor", useFailed, 2),
		`mirrorcred_plugin_run_duration_seconds_bucket{le="0.064"} 0`, `mirrorcred_plugin_run_duration_seconds_bucket{le="0.256"} 4`,
		"mirrorcred_plugin_run_duration_seconds_count 4",
		`mirrorcred_plugin_last_success_timestamp_seconds{registry="old.corp"} `+at(-time.Hour),
		`mirrorcred_plugin_last_success_timestamp_seconds{registry="a.corp"} `+at(time.Second))
	if strings.Contains(text, "b.corp") || strings.Contains(text, "c.corp") {
		t.Errorf("a run without a credential is a success:\n%s", text)
	}
	ran(3*time.Second, audit.Answered, "", audit.Target{Host: "a.corp", Credential: "azure"})
	for i := range 2 * maxRegistries {
		ran(4*time.Second, audit.Answered, "", audit.Target{Host: fmt.Sprintf("r%d.corp", i), Credential: fmt.Sprint("c", i)})
	}
	text = scrape(t, m, s, "/metrics")
	has(text, runs(audit.Answered, "", "azure", 2), runs(audit.Answered, "", "c97", 1), runs(audit.Answered, "", "other", 102),
		`mirrorcred_plugin_last_success_timestamp_seconds{registry="a.corp"} `+at(3*time.Second))
	if n := strings.Count(text, "last_success_timestamp_seconds{"); n != maxRegistries {
		t.Errorf("there are %d registries; want %d at most", n, maxRegistries)
	}
}
