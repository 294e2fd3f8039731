package hosts

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/mirrorcred/mirrorcred/mirror"
)

var (
	deliveredSeed = flag.Uint64("delivered.seed", 1, "the seed of TestDelivered's maps; 0 takes one from the clock")
	deliveredMaps = flag.Int("delivered.maps", 100_000, "how many maps TestDelivered has")
)

// TestDelivered holds, over many random maps with deliver = "hosts", that containerd
// sends a credential from hosts.toml to its own registry and to no other: containerd's
// own parser says who would be sent what. A header in the root table is beside a
// server that is its own registry.
func TestDelivered(t *testing.T) {
	seed := *deliveredSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-delivered.seed %d", seed)
	j := &judge{t: t, root: t.TempDir(), known: map[string][2][]sent{}, open: map[string]*os.File{}}
	g := &deliveryGenerator{Rand: rand.New(rand.NewPCG(seed, 0))}
	maps, refused, delivered := 0, 0, 0
	for maps < *deliveredMaps {
		text := g.next()
		m, err := mirror.Parse("mirrors.toml", []byte(text))
		if err != nil {
			if refused++; refused > maps+1000 {
				t.Fatalf("%d maps are refused, of %d; the last one:\n%s\n%v", refused, refused+maps, text, err)
			}
			continue
		}
		maps++
		if chance(g.Rand, 20) {
			g.leaveOut(m)
		}
		delivered += j.judge(m)
		if t.Failed() {
			t.Fatalf("the map:\n%s", text)
		}
	}
	t.Logf("%d maps with %d delivered credentials, %d others refused; %d different files", maps, delivered, refused, len(j.known))
	if delivered < maps {
		t.Errorf("%d maps deliver %d credentials; want more, or this holds nothing", maps, delivered)
	}
}

// A sent is a credential that containerd would send.
type sent struct {
	to    string // scheme://host
	value string // of the header Authorization
}

// A judge remembers what containerd makes of files: many maps have files that earlier
// ones had too. By version 1 and by version 2 of it.
type judge struct {
	t     *testing.T
	root  string
	known map[string][2][]sent
	open  map[string]*os.File // by namespace
}

// judge checks a map, and returns how many credentials containerd would send.
func (j *judge) judge(m *mirror.Map) int {
	j.t.Helper()
	version := mustVersion(m.Containerd.Version)
	files, err := Render(m, Options{Version: version, Secrets: deliveredSecrets(m)})
	if err != nil {
		j.t.Fatal(err)
	}
	total := 0
	for i, f := range files {
		one := m.Mirrors[i]
		if one.Secret() != f.Secret {
			j.t.Errorf("mirror of %s: Secret is %t", one.Source, f.Secret)
		}
		host := one.Source.String()
		if one.Source.Any() {
			host = "unmapped.example:8443"
		}
		var want []sent
		for _, target := range one.Targets {
			if value := deliveredValue(target); value != "" {
				want = append(want, sent{"https://" + target.Host().String(), value})
			}
		}
		total += len(want)
		isFor1 := version.Before(2, 0, 0)
		for i, got := range j.sends(f, host, isFor1) {
			if i == 0 && !isFor1 {
				continue
			}
			if !slices.Equal(got, want) {
				j.t.Errorf("containerd %d sends for %s:\n%q\nthe map says:\n%q\n%s", i+1, host, got, want, f.Data)
			}
		}
	}
	return total
}

// deliveredValue is a value that names the registry it is for, or "" if the target has
// none.
func deliveredValue(target mirror.Target) string {
	if _, ok := target.Delivery(); !ok {
		return ""
	}
	return "Basic canary " + target.Host().String() + " " + target.Credentials[0]
}

// deliveredSecrets are the values that a map's targets are to send.
func deliveredSecrets(m *mirror.Map) map[string]string {
	secrets := map[string]string{}
	for _, one := range m.Mirrors {
		for _, target := range one.Targets {
			if key, ok := target.Delivery(); ok {
				secrets[key] = deliveredValue(target)
			}
		}
	}
	return secrets
}

// sends returns what containerd 1, if the file is for that too, and 2 would send to
// whom for images of a host.
func (j *judge) sends(f File, host string, isFor1 bool) (all [2][]sent) {
	j.t.Helper()
	key := fmt.Sprint(isFor1, host, "\n", string(f.Data))
	if all, ok := j.known[key]; ok {
		return all
	}
	j.checkRoot(f)
	j.write(f)
	for i, o := range []oracle{v1, v2} {
		if i == 0 && !isFor1 {
			continue
		}
		calls, err := o.ask(j.root, host)
		if err != nil {
			j.t.Fatal(err)
		}
		for _, c := range calls {
			address, _, _ := strings.Cut(c.address, " ")
			if value, ok := c.authorization(); ok {
				all[i] = append(all[i], sent{address, value})
			}
		}
	}
	j.known[key] = all
	return all
}

// write has a namespace's file hold this one. It stays open: opening it each time takes
// longer than all else.
func (j *judge) write(f File) {
	j.t.Helper()
	file, ok := j.open[f.Namespace]
	if !ok {
		name := filepath.Join(j.root, f.Namespace, FileName)
		write(j.t, name, nil)
		var err error
		if file, err = os.OpenFile(name, os.O_WRONLY, 0); err != nil {
			j.t.Fatal(err)
		}
		j.t.Cleanup(func() { file.Close() })
		j.open[f.Namespace] = file
	}
	_, err := file.WriteAt(f.Data, 0)
	if err := errors.Join(err, file.Truncate(int64(len(f.Data)))); err != nil {
		j.t.Fatal(err)
	}
}

// authorization returns the value of the header Authorization.
func (c called) authorization() (string, bool) {
	_, after, ok := strings.Cut(c.header, `"Authorization"=["`)
	value, _, _ := strings.Cut(after, `"]`)
	return value, ok
}

// checkRoot checks that a header Authorization in the root table is beside a server
// that is its own registry, whatever the source is.
func (j *judge) checkRoot(f File) {
	j.t.Helper()
	var file struct {
		Server string              `toml:"server"`
		Header map[string][]string `toml:"header"`
	}
	if err := toml.Unmarshal(f.Data, &file); err != nil {
		j.t.Fatal(err)
	}
	for _, value := range file.Header["Authorization"] {
		owner := strings.Fields(value)[2]
		if rest, ok := strings.CutPrefix(file.Server, "https://"+owner); !ok || rest != "" && rest[0] != '/' {
			j.t.Errorf("the header %q is in the root table beside server = %q\n%s", value, file.Server, f.Data)
		}
	}
}

// A deliveryGenerator writes random maps in which registries have their credential
// delivered by hosts.toml. Most are valid.
type deliveryGenerator struct {
	*rand.Rand
	out strings.Builder
}

// Names that containerd, the map or a careless comparison may take for each other.
var deliveryHosts = []string{
	"harbor.corp", "harbor.corp:8443", "mirror.harbor.corp", "docker.io", "quay.io", "10.0.0.1:5000", "localhost:5001",
}

var deliverySources = []string{
	"docker.io", "registry-1.docker.io", "quay.io", "harbor.corp", "harbor.corp:8443", "harbor.corp:443",
	"localhost:5001", "localhost", "10.0.0.1:5000", "*",
}

// next returns the next map.
func (g *deliveryGenerator) next() string {
	g.out.Reset()
	g.printf("version = 1\n")
	if version := pick(g.Rand, []string{"", "", "1.7", "2.1", "2.4"}); version != "" {
		g.printf("[containerd]\nversion = %s\n", lit(version))
	}
	for _, source := range some(g.Rand, deliverySources, 1+g.IntN(2)) {
		g.mirror(source)
	}
	for i, host := range some(g.Rand, deliveryHosts, 1+g.IntN(4)) {
		g.registry(host, i == 0 || chance(g.Rand, 60))
	}
	for _, name := range []string{"one", "two"} {
		g.printf("[credential.%s]\nkind = \"docker-config\"\npath = \"/%s.json\"\n", name, name)
	}
	return g.out.String()
}

// leaveOut takes a target out of each mirror that has others, as is done with one whose
// credential has expired.
func (g *deliveryGenerator) leaveOut(m *mirror.Map) {
	for i, one := range m.Mirrors {
		if len(one.Targets) > 1 {
			at := g.IntN(len(one.Targets))
			m.Mirrors[i].Targets = slices.Delete(slices.Clone(one.Targets), at, at+1)
		}
	}
}

func (g *deliveryGenerator) printf(format string, args ...any) { fmt.Fprintf(&g.out, format, args...) }

// mirror writes a [[mirror]]: up to three targets, and often the source itself,
// anywhere.
func (g *deliveryGenerator) mirror(source string) {
	var targets []string
	for _, host := range some(g.Rand, deliveryHosts, 1+max(0, g.IntN(4)-1)) {
		if host != source {
			targets = append(targets, host+pick(g.Rand, []string{"", "", "", "/p"}))
		}
	}
	if chance(g.Rand, 8) {
		targets = append(targets, "http://"+pick(g.Rand, plainHosts[:2]))
	}
	g.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	if chance(g.Rand, 60) || len(targets) == 0 {
		at := len(targets)
		if source != "*" && chance(g.Rand, 30) {
			at = g.IntN(len(targets) + 1)
		}
		targets = slices.Insert(targets, at, source)
	}
	g.printf("[[mirror]]\nsource = %s\ntargets = %s\n", lit(source), lit(targets))
	if chance(g.Rand, 70) {
		g.printf("share_credential = true\n")
	}
	if chance(g.Rand, 5) {
		g.printf("header = { X-Forwarded-For = %s }\n", lit(source))
	}
}

// registry writes a [registry."…"], and sometimes one below it that agrees with it.
func (g *deliveryGenerator) registry(host string, delivered bool) {
	settings := fmt.Sprintf("credential = %q\n", pick(g.Rand, []string{"one", "two"}))
	if delivered {
		settings += "deliver = \"hosts\"\n"
		if chance(g.Rand, 20) {
			settings += "token_host = \"auth.corp\"\n"
		}
	}
	g.printf("[registry.%s]\n%s", lit(host), settings)
	for _, line := range []string{"skip_verify = true\n", "dial_timeout = \"5s\"\n", "capabilities = [\"pull\"]\n", "header = { X-Team = \"nodes\" }\n"} {
		if chance(g.Rand, 4) {
			g.printf("%s", line)
		}
	}
	if chance(g.Rand, 20) {
		g.printf("[registry.%s]\n%s", lit(host+"/p"), settings)
	}
}
