package alerts

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// targetLabels are the labels that Prometheus adds to the watcher's.
var targetLabels = []string{"job", "instance", "cluster", "ring", "le"}

// TestAlertMetricsAreServed checks that the watcher serves each metric that an alert, the
// dashboard or the documentation of the alerts names, with these labels and values.
func TestAlertMetricsAreServed(t *testing.T) {
	served := startWatcher(t)
	for where, exprs := range queries(t) {
		for _, text := range exprs {
			expr, err := language.ParseExpr(text)
			if err != nil {
				t.Errorf("%s: %s: %v", where, text, err)
				continue
			}
			for _, problem := range unserved(served, expr) {
				t.Errorf("%s: %s: %s", where, text, problem)
			}
		}
	}
}

// TestUnservedMetricIsFound checks that the check sees a metric, a label and a value that do not
// exist.
func TestUnservedMetricIsFound(t *testing.T) {
	served, err := parseMetrics(strings.NewReader("# TYPE a gauge\na{x=\"1\"} 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		`a`: 0, `a{x="1",job="j"}`: 0, `sum by (x, instance) (a)`: 0, `h_bucket`: 0, `h_count`: 0, `up`: 0, `sum by (le) (rate(h_bucket[5m]))`: 0,
		`b`: 1, `a_total`: 1, `a{x="2"}`: 1, `a{y="1"}`: 1, `sum by (y) (a)`: 1, `h`: 1, `a unless ignoring (z) a`: 1, `sum without (y) (a) / b`: 2,
	} {
		expr, err := language.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := unserved(served, expr); len(got) != want {
			t.Errorf("unserved(%s) = %q; want %d", text, got, want)
		}
	}
}

// unserved returns what an expression names that is not served.
func unserved(served map[string][]labels.Labels, expr parser.Expr) []string {
	var problems []string
	known := slices.Clone(targetLabels)
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok && v.Name != "up" {
			list, ok := served[v.Name]
			if !ok {
				problems = append(problems, fmt.Sprintf("the watcher does not serve %s", v.Name))
			} else if !slices.ContainsFunc(list, func(l labels.Labels) bool { return selects(v, l) }) {
				problems = append(problems, fmt.Sprintf("no series of %s matches %s", v.Name, v))
			}
			for _, l := range list {
				l.Range(func(one labels.Label) { known = append(known, one.Name) })
			}
		}
		return nil
	})
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		var names []string
		switch n := node.(type) {
		case *parser.AggregateExpr:
			names = n.Grouping
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				names = append(n.VectorMatching.MatchingLabels, n.VectorMatching.Include...)
			}
		}
		for _, name := range names {
			if !slices.Contains(known, name) {
				problems = append(problems, "no series has the label "+name)
			}
		}
		return nil
	})
	return problems
}

// selects reports whether a selector takes a series, whatever Prometheus calls its
// target.
func selects(v *parser.VectorSelector, l labels.Labels) bool {
	for _, m := range v.LabelMatchers {
		if m.Name != model.MetricNameLabel && !slices.Contains(targetLabels, m.Name) && (!l.Has(m.Name) && m.Value != "" || !m.Matches(l.Get(m.Name))) {
			return false
		}
	}
	return true
}

// queries returns all expressions, by the place where they are.
func queries(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, r := range readRules(t) {
		all[r.Alert] = []string{r.Expr}
	}
	data, err := os.ReadFile("../dashboards/mirrorcred.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
		Templating  struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	add := func(where, expr string) { all[where] = append(all[where], variables.Replace(expr)) }
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			add("panel "+p.Title, target.Expr)
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %s has no query", p.Title)
		}
	}
	for _, a := range board.Annotations.List {
		if a.Expr != "" {
			add("annotation "+a.Name, a.Expr)
		}
	}
	for _, v := range board.Templating.List {
		if inner, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			metric, _, _ := strings.Cut(strings.TrimSuffix(inner, ")"), ", ")
			add("variable "+v.Name, metric)
		}
	}
	if len(board.Panels) == 0 {
		t.Error("the dashboard has no panel")
	}
	return all
}

// variables gives Grafana's variables a value.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$job", ".*", "$instance", ".*")

// startWatcher builds the program, runs it on a node with an event and a credential of
// each kind, and returns the series that it serves, by metric.
func startWatcher(t *testing.T) map[string][]labels.Labels {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "mirrorcred")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/mirrorcred")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	root := filepath.Join(dir, "root")
	for name, text := range node(t) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o600)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	watcher := exec.CommandContext(t.Context(), program, "watch", "--root", root, "--metrics-address", address,
		"--socket", filepath.Join(dir, "s"))
	var log strings.Builder
	watcher.Stderr = &log
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = watcher.Process.Kill()
		_ = watcher.Wait()
		if t.Failed() {
			t.Logf("the watcher's log:\n%s", log.String())
		}
	}()
	deadline := time.Now().Add(time.Minute)
	for {
		served, err := scrape(address)
		if err == nil && len(served["mirrorcred_credential_expiry_timestamp_seconds"]) > 1 {
			return served
		}
		if time.Now().After(deadline) {
			t.Fatalf("no metrics within a minute: %v, %v", slices.Sorted(maps.Keys(served)), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// nodeMap has a credential of each way of delivery.
const nodeMap = `version = 1
[[mirror]]
source = "docker.io"
targets = ["harbor.corp/hub"]
[[mirror]]
source = "quay.io"
targets = ["ecr.corp"]
[registry."harbor.corp"]
credential = "harbor"
[registry."ecr.corp"]
credential = "ecr"
deliver = "hosts"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
[credential.ecr]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`

// node returns the files of a node, by path.
func node(t *testing.T) map[string]string {
	t.Helper()
	m, err := mirror.Parse("mirrors.toml", []byte(nodeMap))
	if err != nil {
		t.Fatal(err)
	}
	var delivered string
	for key := range m.DeliveryKeys() {
		delivered = key
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte("{}")) + "." + encode([]byte(`{"iat":1700000000,"exp":1900000000}`)) + "." + encode([]byte("x"))
	return map[string]string{
		"etc/containerd/config.toml":                                     "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n",
		"etc/mirrorcred/mirrors.toml":                                    nodeMap,
		"var/lib/mirrorcred/delivered/" + delivered + ".json":            `{"registry":"ecr.corp","authorization":"Basic eDp5","realm":false,"until":"2033-01-01T00:00:00Z","credential":"ecr","from":"2032-01-01T00:00:00Z"}`,
		"etc/mirrorcred/harbor.json":                                     fmt.Sprintf(`{"auths": {"harbor.corp": {"auth": %q}}}`, base64.StdEncoding.EncodeToString([]byte("robot:"+token))),
		"var/lib/kubelet/credential-provider/mirror-credential-provider": "#!/bin/sh\n",
		"var/log/mirrorcred/plugin.jsonl": fmt.Sprintln(`{"time":"2026-01-01T00:00:00Z","image":"docker.io/library/busybox","outcome":"answered",` +
			`"targets":[{"target":"harbor.corp","credential":"harbor","cached":false,"ms":1}],"ms":1}`),
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// scrape returns the series that are served at an address.
func scrape(address string) (map[string][]labels.Labels, error) {
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return parseMetrics(response.Body)
}

// parseMetrics returns the series of a page of metrics, by the name that a query has
// for them.
func parseMetrics(page io.Reader) (map[string][]labels.Labels, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(page)
	served := map[string][]labels.Labels{}
	for name, family := range families {
		names := []string{name}
		if family.GetType() == dto.MetricType_HISTOGRAM {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, m := range family.GetMetric() {
			pairs := map[string]string{}
			for _, l := range m.GetLabel() {
				pairs[l.GetName()] = l.GetValue()
			}
			for _, name := range names {
				served[name] = append(served[name], labels.FromMap(pairs))
			}
		}
	}
	return served, err
}
