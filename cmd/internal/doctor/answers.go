package doctor

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The kubelet collects every credential that matches an image: from the node's docker
// configuration, and from each provider that matches. containerd offers them to whichever
// host answers, so a credential for the source reaches its mirror.

// duplicateAnswers looks for other providers that answer for a source.
func duplicateAnswers(facts *Facts) []Finding {
	var found []Finding
	for _, provider := range facts.Others {
		for _, written := range provider.Match {
			s := mirrored(facts.Map, newPattern(written))
			if s.empty() {
				continue
			}
			repair := fmt.Sprintf("take %q out of its matchImages and restart the kubelet", written)
			if strings.Contains(written, "*") {
				repair = fmt.Sprintf("replace %q in its matchImages by the registries that it is for, and restart the kubelet", written)
			}
			if provider.Name == mirror.Stock {
				repair = fmt.Sprintf("take this provider out and restart the kubelet; mirrorcred answers for ACR hosts itself with [credential.azure] in %s", facts.MapFile)
			}
			found = append(found, Finding{DuplicateAnswer, provider.Where, fmt.Sprintf(
				"provider %q answers for the images of %s too, by its pattern %q, so the source's own credential is offered to the mirror, and may be tried first", provider.Name, s, written),
				repair})
		}
	}
	return found
}

// nodeDockerConfigs checks for entries for a source in the docker configurations that a
// kubelet reads by itself.
func nodeDockerConfigs(facts *Facts) []Finding {
	var found []Finding
	reported := map[string]bool{}
	for _, files := range facts.NodeConfigs {
		for _, f := range files {
			keys, ok := f.keys()
			if !ok {
				continue // the kubelet goes on to the next one
			}
			for _, key := range keys {
				s := mirrored(facts.Map, newKey(key))
				if at := f.Path + "\n" + key; s.empty() || reported[at] {
					continue
				} else {
					reported[at] = true
				}
				kubelet := "the kubelet"
				if f.If != "" {
					kubelet += ", " + f.If + ","
				}
				found = append(found, Finding{NodeDockerConfig, f.Path, fmt.Sprintf(
					"%s reads this file, and its entry %q answers for the images of %s, so the source's own credential is offered to the mirror first", kubelet, key, s),
					fmt.Sprintf("take the entry out, or move it to a file that only [credential] in %s names", facts.MapFile)})
			}
			if f.If == "" {
				break // the kubelet reads the first one that it can, and no more
			}
		}
	}
	return found
}

// mirrored returns the sources that a pattern matches and that another registry serves.
func mirrored(m *mirror.Map, p pattern) sources {
	var s sources
	for _, one := range m.Mirrors {
		if p.answers(m, one) && slices.ContainsFunc(one.Targets, func(t mirror.Target) bool { return p.foreign(one, t) }) {
			s.add(one.Source.String())
		}
	}
	return s
}

// A pattern is one with which the kubelet selects a credential for an image. Only its
// host matters here: a path makes it match fewer images of a source, but not fewer
// sources.
type pattern struct {
	host string
	glob bool
	mirror.Pattern
}

// newPattern returns a pattern of matchImages. A pattern that the kubelet rejects matches
// nothing.
func newPattern(written string) pattern {
	host, _, _ := strings.Cut(written, "/")
	matches, _ := mirror.KubeletPattern(host)
	return pattern{host, strings.ContainsAny(host, `*?[\`), matches}
}

// newKey returns the pattern for a key of a docker configuration: it may have a scheme,
// and index.docker.io means Docker Hub (Kubernetes v1.37.0,
// pkg/credentialprovider/keyring.go, Add and Lookup).
func newKey(written string) pattern {
	for _, scheme := range []string{"https://", "http://"} {
		written = strings.TrimPrefix(written, scheme)
	}
	if host, rest, _ := strings.Cut(written, "/"); host == "index.docker.io" {
		written = "docker.io/" + rest
	}
	return newPattern(written)
}

// answers reports whether the pattern matches images that a mirror serves.
func (p pattern) answers(m *mirror.Map, one mirror.Mirror) bool {
	if !one.Source.Any() {
		return p.MatchesHost(one.Source.Host())
	}
	// "*" serves only hosts without a mirror of their own, and the pattern's host may
	// have one.
	s, err := mirror.ParseSource(p.host)
	_, own := m.Mirror(s)
	return p.glob || err == nil && !own
}

// foreign reports whether a target is another registry than the one whose
// credential is returned by the pattern.
func (p pattern) foreign(one mirror.Mirror, t mirror.Target) bool {
	if one.Source.Any() {
		return p.glob || t.Host().String() != p.host
	}
	return !t.Self()
}

// keys returns the keys of a docker configuration under which there is a
// credential, sorted, and false if the kubelet cannot read the file and goes on
// to the next (Kubernetes v1.37.0, pkg/credentialprovider/config.go).
func (f DockerFile) keys() ([]string, bool) {
	var file struct {
		Auths map[string]login `json:"auths"`
	}
	var err error
	if f.Legacy {
		err = json.Unmarshal(f.Data, &file.Auths)
	} else {
		err = json.Unmarshal(f.Data, &file)
	}
	if err != nil {
		return nil, false
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(file.Auths)), func(key string) bool { return !bool(file.Auths[key]) }), true
}

// A login says whether an entry has a credential. The credential itself is not kept.
type login bool

// UnmarshalJSON reads an entry as the kubelet does. For the kubelet, one bad auth makes
// the whole file invalid.
func (l *login) UnmarshalJSON(data []byte) error {
	var entry struct {
		Username string            `json:"username"`
		Password credential.Secret `json:"password"`
		Email    string            `json:"email"`
		Auth     string            `json:"auth"`
	}
	if err := json.Unmarshal(data, &entry); err != nil {
		return err
	}
	*l = entry.Username != "" || entry.Password != ""
	if entry.Auth == "" {
		return nil
	}
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(strings.TrimSpace(entry.Auth), "=") {
		encoding = base64.StdEncoding
	}
	text, err := encoding.DecodeString(entry.Auth)
	if err != nil {
		return err
	}
	username, password, ok := strings.Cut(string(text), ":")
	if !ok {
		return fmt.Errorf("an auth without a colon")
	}
	*l = username != "" || password != ""
	return nil
}
