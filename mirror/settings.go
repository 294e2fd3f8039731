package mirror

import (
	"cmp"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// capabilities that containerd knows (core/remotes/docker/config/hosts.go,
// v2.4.2); one that it does not know makes it ignore the whole file.
var capabilities = []string{"pull", "resolve", "push", "referrers"}

// settings reads the keys of a [registry] table that go into hosts.toml.
func (r *reader) settings(secrets *[]LiteralSecret) Settings {
	s := Settings{
		CA:         r.absolute("ca", r.texts("ca", true)),
		Client:     r.client(),
		SkipVerify: r.flag("skip_verify"),
	}
	if text := r.text("dial_timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			r.add(r.at("dial_timeout"), "dial_timeout of %s: %q is not a duration; write it like \"5s\" or \"500ms\"", r.what, text)
		}
		s.DialTimeout = d
	}
	s.Capabilities = r.capabilities()
	s.Header = r.headers(secrets)
	return s
}

// absolute returns the paths in values, each of which must be absolute:
// containerd takes others as relative to the directory of hosts.toml.
func (r *reader) absolute(key string, values []*value) []string {
	for _, v := range values {
		if !strings.HasPrefix(v.text, "/") {
			r.add(v.line, "%s of %s: %q is not an absolute path; begin it with \"/\"", key, r.what, v.text)
		}
	}
	return texts(values)
}

// client reads the client certificates: one file with certificate and key, or
// a list of pairs.
func (r *reader) client() [][2]string {
	v := r.get("client")
	if v == nil {
		return nil
	}
	if v.kind == unstable.String {
		paths := r.absolute("client", []*value{v})
		return [][2]string{{paths[0], ""}}
	}
	if !r.want("client", v, unstable.Array) {
		return nil
	}
	var pairs [][2]string
	for _, pair := range v.list {
		if pair.kind != unstable.Array || len(pair.list) < 1 || len(pair.list) > 2 ||
			slices.ContainsFunc(pair.list, func(e *value) bool { return e.kind != unstable.String }) {
			r.add(pair.line, "client of %s: an entry is not a pair of files; write [[\"client.crt\", \"client.key\"]], or [[\"both.pem\"]]", r.what)
			continue
		}
		paths := r.absolute("client", pair.list)
		pairs = append(pairs, [2]string{paths[0], strings.Join(paths[1:], "")})
	}
	return pairs
}

func (r *reader) capabilities() []string {
	values := r.texts("capabilities", false)
	if values == nil {
		if v := r.find("capabilities"); v != nil && v.kind == unstable.Array && len(v.list) == 0 {
			r.add(v.line, "capabilities of %s is empty, which containerd reads as all of them; remove the key", r.what)
		}
		return nil
	}
	var list []string
	for _, v := range values {
		name := strings.ToLower(v.text)
		switch {
		case !slices.Contains(capabilities, name):
			r.add(v.line, "unknown capability %q in %s; the capabilities are %s", v.text, r.what, strings.Join(capabilities, ", "))
		case slices.Contains(list, name):
			r.add(v.line, "capability %q of %s is there twice; remove one", v.text, r.what)
		default:
			list = append(list, name)
		}
	}
	if len(list) > 0 && !slices.Contains(list, "pull") && !slices.Contains(list, "resolve") {
		r.add(r.at("capabilities"), "capabilities of %s has neither \"pull\" nor \"resolve\", so nothing is pulled there; add \"pull\"", r.what)
	}
	return list
}

// mostHeader is how many bytes the names and values of a header table may have. All
// mirrors of a registry have them in their hosts.toml, so few bytes of a map could
// become very many on the disk.
const mostHeader = 8 << 10

// size is the number of bytes of all keys and values in a table.
func (t *table) size() int {
	n := 0
	for i, key := range t.keys {
		n += len(key) + t.list[i].size()
	}
	return n
}

func (v *value) size() int {
	n := len(v.text)
	for _, e := range v.list {
		n += 1 + e.size()
	}
	if v.table != nil {
		n += v.table.size()
	}
	return n
}

// headers reads the header table: a value, a list of values, or the file that
// holds the value.
func (r *reader) headers(secrets *[]LiteralSecret) []Header {
	t := r.sub("header")
	if t == nil {
		return nil
	}
	headers := r.faults.reader(t, "header of "+r.what)
	if size := t.size(); size > mostHeader {
		r.add(r.at("header"), "header of %s has %d bytes, and servers refuse that many; write %d at most", r.what, size, mostHeader)
		return nil
	}
	var list []Header
	for _, name := range t.keys {
		h := Header{Name: textproto.CanonicalMIMEHeaderKey(name)}
		v := headers.get(name)
		switch {
		case !isToken(name):
			r.add(v.line, "%q in %s cannot be the name of a header", name, r.what)
			continue
		case slices.ContainsFunc(list, func(other Header) bool { return other.Name == h.Name }):
			r.add(v.line, "header %q of %s is there twice, as case does not count; remove one", name, r.what)
			continue
		case v.kind == unstable.InlineTable:
			file := r.faults.reader(v.table, "header "+name+" of "+r.what)
			h.File = file.path("file", "")
			if v.table.find("file") == nil {
				file.need("file", "header %s of %s names no file; write { file = \"/etc/mirrorcred/%s.header\" }", name, r.what, strings.ToLower(name))
			}
			file.rest(nil)
		default:
			h.Values = texts(headers.texts(name, true))
			if slices.ContainsFunc(h.Values, func(s string) bool { return !IsHeaderValue(s) }) {
				r.add(v.line, "header %s of %s has a control character in its value; remove it", name, r.what)
			}
			if IsSecretHeader(h.Name) {
				*secrets = append(*secrets, LiteralSecret{h.Name, v.line, slices.Contains(credentialHeaders, h.Name)})
			}
		}
		list = append(list, h)
	}
	sortHeaders(list)
	return list
}

func sortHeaders(list []Header) {
	slices.SortFunc(list, func(a, b Header) int { return cmp.Compare(a.Name, b.Name) })
}

// isToken matches the token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(s[i])) {
			return false
		}
	}
	return s != ""
}

// IsHeaderValue reports whether s may be the value of an HTTP header: it has no
// control character except the tab (RFC 9110, section 5.5).
func IsHeaderValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// credentialHeaders carry a secret by their nature.
var credentialHeaders = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "X-Auth-Token", "X-Jfrog-Art-Api",
	"Private-Token", "Job-Token",
}

// IsSecretHeader reports whether a header of that name may hold a secret. The
// case of name does not matter. It is true for all names except a few that are
// known to hold none, because registries and gateways choose their own.
func IsSecretHeader(name string) bool {
	switch name = textproto.CanonicalMIMEHeaderKey(name); name {
	case "Accept", "User-Agent", "X-Forwarded-For":
		return false
	}
	return !strings.HasPrefix(name, "X-Meta-")
}

// with returns s with the headers of a mirror added; of two with one name the
// mirror's stays.
func (s Settings) with(mirror []Header) Settings {
	if len(mirror) == 0 {
		return s
	}
	all := slices.Clone(mirror)
	for _, h := range s.Header {
		if !slices.ContainsFunc(mirror, func(m Header) bool { return m.Name == h.Name }) {
			all = append(all, h)
		}
	}
	sortHeaders(all)
	s.Header = all
	return s
}

// forbidden returns the name of a setting that an http:// target must not
// have, or "". With TLS settings containerd tries https first
// (hosts.go, v2.4.2, line 171). containerd 2.0 does so with dial_timeout too:
// package hosts, which knows the version, refuses that.
func (s Settings) forbidden() string {
	switch {
	case len(s.CA) > 0:
		return "ca"
	case len(s.Client) > 0:
		return "client"
	case s.SkipVerify:
		return "skip_verify"
	}
	return ""
}
