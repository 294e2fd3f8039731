// Package oracle holds what "mirrorcred apply" writes and what the plugin
// answers against the kubelet's own code, as a library: it is registered by the
// generated configuration, runs the real plugin, and finds for each image the
// logins that the map means, or none.
//
// It shares the kubelet's module, which has all that the code needs. Providers
// are global there and cannot be registered twice, so each map has a process of
// its own: the test's binary, run again. It needs no root. Start at
// TestKubeletFinds.
package oracle

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/credentialprovider/plugin"
	"k8s.io/kubernetes/pkg/util/parsers"
)

var (
	maps  = flag.Int("maps", 24, "how many maps to generate")
	first = flag.Uint64("seed", 1, "the seed of the first map")
)

// childVariable has the test's binary be a kubelet: it holds the configuration,
// the directory of the plugins and the pod, apart by newlines.
const childVariable = "MIRRORCRED_ORACLE"

// The pods that pull.
const (
	withAccount    = "with a service account"
	withoutAccount = "without a service account"
	notAllowed     = "with a service account, on a node that may not ask for its tokens"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childVariable); child != "" {
		if err := kubelet(child); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serviceAccount is that of the pod, if it has one.
const serviceAccount = "account"

// tokens is the kubelet's way to the API server.
func tokens(pod string) func(namespace, name string, tr *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	return func(_, _ string, tr *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
		if pod == notAllowed {
			return nil, errors.New("serviceaccounts is forbidden: audience not found in pod spec volume")
		}
		tr.Status.Token = tokenFor(tr.Spec.Audiences[0])
		return tr, nil
	}
}

func account(namespace, name string) (*v1.ServiceAccount, error) {
	return &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "uid"}}, nil
}

// kubelet reads images as pods name them and writes what they find.
func kubelet(child string) error {
	config, rest, _ := strings.Cut(child, "\n")
	bin, pod, _ := strings.Cut(rest, "\n")
	if err := plugin.RegisterCredentialProviderPlugins(config, bin, tokens(pod), account); err != nil {
		return err
	}
	name := serviceAccount
	if pod == withoutAccount {
		name = ""
	}
	var images []string
	if err := json.NewDecoder(os.Stdin).Decode(&images); err != nil {
		return err
	}
	found := make([][]login, len(images))
	keyring := plugin.NewExternalCredentialProviderDockerKeyring("ns", "pod", "uid", name)
	for i, image := range images {
		// As pkg/kubelet/images/image_manager.go does it.
		name, _, _, err := parsers.ParseImageName(image)
		if err != nil {
			return fmt.Errorf("image %q: %w", image, err)
		}
		list, _ := keyring.Lookup(name)
		for _, c := range list {
			found[i] = append(found[i], login{c.Username, c.Password})
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// ask returns what images of a pod find on a node by the kubelet's code, and its
// log.
func ask(t *testing.T, n node, config, pod string, images []string) (found [][]login, log string) {
	t.Helper()
	in, err := json.Marshal(images)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childVariable+"="+filepath.Join(n.root, config)+"\n"+n.bin+"\n"+pod)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("the kubelet does not start: %v\n%s", err, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	return found, errs.String()
}

// TestKubeletFinds generates maps, applies each, some over another, and asks
// for images of all registries that are named, and of some that only look like
// them.
func TestKubeletFinds(t *testing.T) {
	programs := build(t)
	asked, finding := 0, 0
	for i := range *maps {
		seed := *first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			n := newNode(t, programs)
			f := forms[seed%uint64(len(forms))]
			w := newWorld(seed, f)
			n.write(t, f.before, f.text)
			if seed%3 == 0 {
				n.apply(t, newWorld(seed+1000, f).text())
			}
			n.apply(t, w.text())
			for _, pod := range []string{withAccount, pick(w.Rand, []string{withoutAccount, notAllowed})} {
				a, f := w.check(t, n, pod)
				asked, finding = asked+a, finding+f
			}
			if t.Failed() {
				t.Logf("run it again with -args -maps 1 -seed %d; the map:\n%s", seed, w.text())
			}
		})
	}
	t.Logf("%d images, %d of which find something", asked, finding)
	if finding == 0 {
		t.Error("no image was meant to find anything: the maps prove nothing")
	}
}

// check asks for images as a pod, and returns how many it asked for and how many
// of those were meant to find something.
func (w *world) check(t *testing.T, n node, pod string) (asked, finding int) {
	t.Helper()
	var images []string
	var want [][]login
	for j, host := range w.hosts() {
		for k := range 3 {
			repository := repositories[(3*j+k)%len(repositories)]
			images = append(images, host+"/"+repository+suffix(j+k))
			want = append(want, w.expects(host, repository))
		}
	}
	found, log := ask(t, n, w.form.config, pod, images)
	for j, got := range found {
		asked++
		finding += min(1, len(want[j]))
		name, _, _ := strings.Cut(strings.TrimSuffix(images[j], suffix(1)), "@")
		_, repository, _ := strings.Cut(name, "/")
		if full := want[j]; !matches(got, full, images[j], repository, pod) {
			t.Errorf("a pod %s: %s finds %v; want %v", pod, images[j], got, full)
		}
	}
	if strings.Contains(log, "Failed to provide") && pod != notAllowed {
		t.Errorf("a pod %s: the plugin failed:\n%s", pod, log)
	}
	return asked, finding
}

// expects is finds for what the kubelet can do.
func (w *world) expects(host, repository string) []login {
	if host == "docker.io" && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return w.finds(host, repository)
}

// matches reports whether a pod finds what it must, in its order: all of want, or,
// if its token cannot be fetched, the rest. At an IPv6 address there is no order
// among the logins for which the repository has no characters: the kubelet's keys
// have no wildcards there.
func matches(got, want []login, image, repository, pod string) bool {
	crowded := want[min(len(repository), len(want)):]
	if pod != withAccount {
		want = slices.DeleteFunc(slices.Clone(want), isToken)
	}
	order := func(l login) int { return slices.Index(want, l) }
	for i, l := range got {
		isCrowded := strings.HasPrefix(image, "[") && i > 0 && slices.Contains(crowded, got[i-1]) && slices.Contains(crowded, l)
		if i > 0 && order(got[i-1]) > order(l) && !isCrowded {
			return false
		}
		if order(l) < 0 || slices.Contains(got[:i], l) {
			return false
		}
	}
	return len(got) == len(want)
}

// suffix returns a tag or a digest, or neither.
func suffix(i int) string {
	return []string{"", ":v1", "@sha256:" + strings.Repeat("0a", 32)}[i%3]
}

// TestKubeletStarts has the kubelet start on configurations that are long, and
// on those from which the last source is gone.
func TestKubeletStarts(t *testing.T) {
	programs := build(t)
	var many strings.Builder
	for i := range 150 {
		fmt.Fprintf(&many, "[[mirror]]\nsource = \"r%d.example:%d\"\ntargets = [\"cache-a.corp:5000\"]\n", i, 1+i)
	}
	many.WriteString("[registry.\"cache-a.corp:5000\"]\ncredential = \"one\"\n[credential.one]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/one.json\"\n")
	for _, match := range []string{"sources", "any"} {
		for i, f := range forms {
			t.Run(fmt.Sprint(match, i), func(t *testing.T) {
				n := newNode(t, programs)
				n.write(t, f.before, f.text)
				head := fmt.Sprintf("version = 1\n[kubelet]\nconfig = %q\nmatch = %q\nmatch_images = [\"*.corp:8443\", \"a.io/team\"]\n", f.config, match)
				n.apply(t, head+many.String())
				images := []string{"r0.example:1/x", "r149.example:150/x", "r149.example/x", "r1.example:1/x", "quay.io/x", "cache-a.corp:5000/x", "a.io/team/x", "b.corp:8443/x"}
				one := []login{loginOf("one", "cache-a.corp:5000")}
				want := [][]login{one, one, nil, nil, nil, one, nil, nil}
				if got, log := ask(t, n, f.config, withoutAccount, images); !reflect.DeepEqual(got, want) || strings.Contains(log, "Failed to provide") {
					t.Errorf("%v find %v; want %v\n%s", images, got, want, log)
				}
				n.apply(t, fmt.Sprintf("version = 1\n[kubelet]\nconfig = %q\n", f.config))
				if got, _ := ask(t, n, f.config, withoutAccount, images); slices.ContainsFunc(got, func(l []login) bool { return l != nil }) {
					t.Errorf("after the last source is gone, %v find %v", images, got)
				}
			})
		}
	}
}
