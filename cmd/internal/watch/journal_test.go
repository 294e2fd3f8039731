package watch

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// hostsOf returns the hosts.toml of a source with one target.
func hostsOf(target string) []byte {
	return []byte("server = \"https://" + target + "\"\n\n[host]\n")
}

// change is a change of the hosts.toml of a source.
func change(stage plan.Stage, source string, from, to []byte) plan.Change {
	return plan.Change{Stage: stage, Path: "/certs.d/" + source + "/hosts.toml", Old: from, New: to}
}

// TestJournal checks the story of a node, as an operator reads it the next morning.
func TestJournal(t *testing.T) {
	const pullsInProgress = "the kubelet (process 7) has 1 pull in progress that may use its credential"
	contoso, fabrikam, hub := hostsOf("contoso.azurecr.io"), hostsOf("fabrikam.azurecr.io"), []byte("server = \"https://contoso.azurecr.io/v2/hub\"\noverride_path = true\n\n[host]\n")
	restart := []plan.Pending{{Source: "docker.io", Reason: "restart the kubelet"}}
	draining := []plan.Pending{{Source: "gcr.io", Reason: pullsInProgress}}
	steps := []struct {
		after  time.Duration
		report Report
		fought []string
		want   string // the lines
	}{
		{report: Report{Plan: plan.Plan{
			Generation: "1", Sources: 2, Pending: restart, NeedsRestart: true,
			Changes: []plan.Change{change(plan.StageRoutes, "mcr.microsoft.com", nil, []byte("{}")), change(plan.StageHosts, "gcr.io", nil, contoso)},
		}}, want: `
INFO mirror activated source=gcr.io target=contoso.azurecr.io
INFO source pending source=docker.io reason="restart the kubelet"
INFO kubelet restart required
`},
		{after: time.Second, report: Report{Plan: plan.Plan{Generation: "1", Sources: 2, Pending: restart, NeedsRestart: true}}},
		// What is found at the start began before it.
		{after: time.Second, report: Report{Plan: plan.Plan{Generation: "1", Sources: 2, Changes: []plan.Change{change(plan.StageHosts, "docker.io", nil, hub)}}}, want: `
INFO mirror activated source=docker.io target=contoso.azurecr.io/hub
INFO kubelet restart no longer required
INFO in sync sources=2
`},
		{after: time.Minute, report: Report{Plan: plan.Plan{Generation: "2", Sources: 3, Pending: []plan.Pending{{Source: "quay.io", Reason: "restart"}}, Changes: []plan.Change{
			{Stage: plan.StageKubelet, Path: "/kubelet.yaml", Old: []byte("a"), New: []byte("b")}}}}, want: `
INFO kubelet configuration changed path=/kubelet.yaml
INFO source pending source=quay.io reason=restart
`},
		{after: 7 * time.Second, report: Report{Plan: plan.Plan{Generation: "2", Sources: 3, Changes: []plan.Change{change(plan.StageHosts, "quay.io", nil, contoso)}}}, want: `
INFO mirror activated source=quay.io target=contoso.azurecr.io after=7s
INFO in sync sources=3
`},
		{report: Report{Plan: plan.Plan{Generation: "2", Sources: 3, Changes: []plan.Change{
			change(plan.StageHosts, "docker.io", nil, hub), {Stage: plan.StageKubelet, Path: "/kubelet.yaml", Old: []byte{}, New: []byte("b")},
			{Stage: plan.StageRoutes, Path: "/routes/quay.io.json", New: []byte("{}")},
			{Stage: plan.StageRoutes, Path: "/routes/gcr.io.json", Old: []byte("{ }"), New: []byte("{}")},
		}}}, want: `
INFO file restored path=/certs.d/docker.io/hosts.toml cause=deleted
INFO file restored path=/kubelet.yaml cause=emptied
INFO file restored path=/routes/quay.io.json cause=deleted
INFO in sync sources=3
`},
		{report: Report{Plan: plan.Plan{Generation: "3", Sources: 3, Changes: []plan.Change{change(plan.StageHosts, "docker.io", hub, fabrikam), change(plan.StageHosts, "quay.io", contoso, append([]byte("# x\n"), contoso...))}}}, want: `
INFO mirror retargeted source=docker.io from=contoso.azurecr.io/hub to=fabrikam.azurecr.io
INFO mirror settings changed source=quay.io target=contoso.azurecr.io
INFO in sync sources=3
`},
		{report: Report{Plan: plan.Plan{Generation: "4", Sources: 2, Held: []plan.Pending{{Source: "gcr.io"}}}}, want: `
INFO change held until the map is stable source=gcr.io
`},
		{after: 2 * time.Second, report: Report{Plan: plan.Plan{Generation: "4", Sources: 2, Draining: draining}}, want: `
INFO change no longer held source=gcr.io after=2s
INFO source draining source=gcr.io reason="` + pullsInProgress + `"
`},
		{after: time.Minute, report: Report{Plan: plan.Plan{Generation: "4", Sources: 2, Changes: []plan.Change{change(plan.StageRemove, "gcr.io", contoso, nil)}}}, want: `
INFO mirror removed source=gcr.io target=contoso.azurecr.io drained=1m0s
INFO in sync sources=2
`},
		// A drain ends without a removal if the source is back in the map.
		{report: Report{Plan: plan.Plan{Generation: "5", Sources: 1, Draining: draining}}, want: `
INFO source draining source=gcr.io reason="` + pullsInProgress + `"
`},
		{after: 300 * time.Millisecond, report: Report{Plan: plan.Plan{Generation: "6", Sources: 2}}, want: `
INFO source no longer draining source=gcr.io after=300ms
INFO in sync sources=2
`},
		{report: Report{Err: &plan.ConfigError{Part: plan.PartMap, Err: errors.New("mirrors.toml:3: x")}}, want: `
ERROR map not applied reason=[map] error="mirrors.toml:3: x"
`},
		{after: time.Second, report: Report{Err: &plan.ConfigError{Part: plan.PartMap, Err: errors.New("mirrors.toml:4: y")}}, want: `
INFO fault over fault="mirrors.toml:3: x" after=1s
ERROR map not applied reason=[map] error="mirrors.toml:4: y"
`},
		{after: 5 * time.Second, report: Report{Plan: plan.Plan{Generation: "6", Sources: 2, Changes: []plan.Change{{Stage: plan.StageRoutes, Path: "/routes/quay.io.json", New: []byte("{}")}}}}, want: `
INFO map applied again fault="mirrors.toml:4: y" after=5s
INFO in sync sources=2
`},
		{report: Report{Plan: plan.Plan{
			Generation: "6", Sources: 2, Loss: "config.toml:2", Conflicts: []plan.Conflict{{Path: "/a", Reason: "edited"}}, Faults: []plan.Pending{{Source: "quay.io", Reason: "no CA"}},
			Warnings: []doctor.Finding{{Name: doctor.CAMissing, Where: "mirrors.toml:6", Text: "missing", Repair: "create it"}, {Name: doctor.MirrorNotReady, Where: "quay.io", Text: "late", Repair: "curl"}},
		}}, want: `
WARN conflict path=/a reason=edited
ERROR source not applied source=quay.io reason="no CA"
WARN warning warning=ca-missing where=mirrors.toml:6 reason=missing fix="create it"
WARN warning warning=mirror-not-ready where=quay.io reason=late fix=curl
WARN containerd will not read the mirrors after its next start reason=config.toml:2
`},
		{after: time.Hour, report: Report{Plan: plan.Plan{Generation: "6", Sources: 2}}, want: `
INFO conflict resolved path=/a after=1h0m0s
INFO source applied again source=quay.io fault="no CA" after=1h0m0s
INFO warning resolved warning=ca-missing where=mirrors.toml:6 after=1h0m0s
INFO warning resolved warning=mirror-not-ready where=quay.io after=1h0m0s
INFO containerd will read the mirrors after its next start fault=config.toml:2 after=1h0m0s
INFO in sync sources=2
`},
		{report: Report{BackingOff: true}, fought: []string{"/a"}, want: `
WARN another program keeps reverting files; backing off files=[/a]
`},
		{after: 10 * time.Second, report: Report{Plan: plan.Plan{Generation: "6", Sources: 2}}, fought: []string{"/a"}},
		{after: 2 * time.Minute, report: Report{Plan: plan.Plan{Generation: "6", Sources: 2}}, want: `
INFO files are no longer reverted files=[/a] after=2m10s
`},
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		j := newJournal(slog.New(slog.NewTextHandler(&log, nil)))
		for i, step := range steps {
			time.Sleep(step.after)
			log.Reset()
			j.write(step.report, step.fought)
			got := head.ReplaceAllString(log.String(), "$1 $2$3")
			if want := strings.TrimPrefix(step.want, "\n"); got != want {
				t.Errorf("step %d logs\n%swant\n%s", i, got, want)
			}
		}
	})
}

// head matches what a line begins with: its time, its level and its message.
var head = regexp.MustCompile(`(?m)^time=\S+ level=(\w+) msg=(?:"([^"]*)"|(\S+))`)
