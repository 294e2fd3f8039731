package fleet

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// metadataLimit is how many requests a second the metadata service of one machine
// answers (learn.microsoft.com/azure/virtual-machines/instance-metadata-service).
const metadataLimit = 5

// The lines between which a document has the tables.
const (
	tablesBegin = "<!-- \"make fleet\" writes from here -->\n"
	tablesEnd   = "<!-- to here -->\n"
)

// Document returns a document with the tables of results in place of those in it.
func Document(text []byte, list []*Result) ([]byte, error) {
	before, rest, found := bytes.Cut(text, []byte(tablesBegin))
	_, after, closed := bytes.Cut(rest, []byte(tablesEnd))
	if !found || !closed {
		return nil, fmt.Errorf("the document lacks the line %q or %q", strings.TrimSpace(tablesBegin), strings.TrimSpace(tablesEnd))
	}
	tables := strings.Join([]string{loads(list), changes(list), rule()}, "\n")
	return bytes.Join([][]byte{before, []byte(tablesBegin), []byte(tables), []byte(tablesEnd), after}, nil), nil
}

func loads(list []*Result) string {
	var b strings.Builder
	b.WriteString("| What happens | Cache | Metadata services | One node's, at most | Token service | in the busiest minute | in all | Data | in the busiest minute |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range list {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %s | %s | %s | %s | %s |\n", r.Scenario, r.Caching,
			r.Metadata.perSecond(), r.OneNode, r.Token.perSecond(), number(r.Token.Minute), number(r.Token.Total), r.Data.perSecond(), number(r.Data.Minute))
	}
	return b.String()
}

func (l Load) perSecond() string {
	return number(l.P50) + " / " + number(l.P99) + " / " + number(l.Peak)
}

func changes(list []*Result) string {
	var b strings.Builder
	b.WriteString("| Map change | Longest wait | Requests to the registry in the busiest minute | Compared with a Premium registry | Answered 429 | All nodes have their image after |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range list {
		wait := watch.DefaultJitter
		switch r.Scenario {
		case Change:
			wait = Jitter(r.Nodes, 1)
		case ChangeSoon, ChangeBusy:
		default:
			continue
		}
		ready := r.Ready.Round(time.Second).String()
		if r.Unready > 0 {
			ready = fmt.Sprintf("not within the time: %s have none", number(r.Unready))
		}
		fmt.Fprintf(&b, "| %s | %s s | %s | %.2f times | %s | %s |\n", r.Scenario, seconds(wait), number(r.Registry.Minute), float64(r.Registry.Minute)/Premium, number(r.Refused), ready)
	}
	return b.String()
}

// rule is the table of what the rule for the jitter comes to.
func rule() string {
	var b strings.Builder
	b.WriteString("| Nodes that get the map together | `--restart-jitter`, 1 pull each | 10 pulls each | 10 pulls each, 5 registries or replicas |\n")
	b.WriteString("| --- | --- | --- | --- |\n")
	for _, nodes := range []int{500, 1_000, 5_000, 10_000, 50_000} {
		fmt.Fprintf(&b, "| %s | %s s | %s s | %s s |\n", number(nodes), seconds(Jitter(nodes, 1)), seconds(Jitter(nodes, 10)), seconds(Jitter(nodes/5, 10)))
	}
	return b.String()
}

// number writes thousands apart.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func seconds(d time.Duration) string { return number(int(d / time.Second)) }

func minutes(d time.Duration) string { return fmt.Sprintf("%d min", d/time.Minute) }
