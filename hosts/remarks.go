package hosts

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Remark is about something in a hosts.toml that does not do what its author
// probably meant.
type Remark struct {
	Name   string // stable, such as "rewrite-unknown"
	Line   int    // 0 if the whole file is meant
	Text   string // what containerd does instead
	Repair string // what to write
	// Fails says that pulls fail or go elsewhere. If it is false, containerd only
	// ignores the line.
	Fails bool
}

// The names of remarks, as "mirrorcred check" reports them. docs/check.md says what each
// means.
const (
	NotParsed               = "not-parsed"
	BOM                     = "bom"
	DuplicateHost           = "duplicate-host"
	UnknownCapability       = "unknown-capability"
	ReferrersTooEarly       = "referrers-too-early"
	ServerOnlyTooEarly      = "server-only-too-early"
	KeyAfterTable           = "key-after-table"
	KeyUnknown              = "key-unknown"
	RewriteUnknown          = "rewrite-unknown"
	DottedTableDropped      = "dotted-table-dropped"
	NoScheme                = "no-scheme"
	HTTPPrefixedHost        = "http-prefixed-host"
	TrailingPath            = "trailing-path"
	OverridePathMissing     = "override-path-missing"
	APIPathWithoutV2        = "artifactory-path-without-v2"
	HTTPWithTLSKeys         = "http-with-tls-keys"
	ClientFlatPair          = "client-flat-pair"
	TwoTargetsOneHost       = "two-targets-one-host"
	RootHeaderWithoutServer = "root-header-without-server"
)

// Remarks returns what in a hosts.toml does not do what it seems to, for containerd
// v, in the order of the lines. The zero Version stands for the newest. If
// containerd refuses the whole file, there is one remark with the reason. A remark
// never repeats what may be a secret.
func Remarks(data []byte, v Version) []Remark {
	if v == (Version{}) {
		v = newest
	}
	if len(data) == 0 {
		return nil
	}
	if _, err := readFile(data, v); err != nil {
		return []Remark{refusal(data, v, err)}
	}
	f, err := decode(data, v)
	if err != nil {
		return []Remark{refusal(data, v, err)}
	}
	list := slices.Concat(f.unknownKeys(), f.droppedTables(), f.addresses(), f.rootHeader(), f.oneHost())
	slices.SortStableFunc(list, func(a, b Remark) int { return a.Line - b.Line })
	return list
}

// refusal returns the remark that says why containerd refuses a file.
func refusal(data []byte, v Version, err error) Remark {
	r := Remark{Name: NotParsed, Text: err.Error(), Fails: true}
	if fault, ok := err.(*mirror.Fault); ok {
		r.Line, r.Text = fault.Line, fault.Text
	}
	text, repair, _ := strings.Cut(r.Text, "; ")
	r.Text = fmt.Sprintf("containerd %s refuses this file and sends pulls to the source: %s", v, text)
	r.Repair = repair
	var generic map[string]any
	switch {
	case bytes.HasPrefix(data, []byte("\ufeff")):
		r.Name = BOM
	case strings.Contains(text, "already exists"):
		r.Name, r.Repair = DuplicateHost, "write each table once"
	case strings.Contains(text, `capabilities has "referrers"`):
		r.Name = ReferrersTooEarly
	case strings.HasPrefix(text, "capabilities has "):
		r.Name = UnknownCapability
	case strings.Contains(text, "there is no host table"):
		r.Name = ServerOnlyTooEarly
	case r.Repair == "" && toml.Unmarshal(data, &generic) != nil:
		r.Repair = "write it as TOML"
	}
	return r
}

// line returns the line of a key, or of the table that it would be in.
func (f *file) line(at ...string) int {
	fault, _ := f.fault(at, "").(*mirror.Fault)
	return fault.Line
}

var rootKeys = []string{"server", "host"}

var settingKeys = slices.Sorted(maps.Keys(map[string]bool{
	"capabilities": true, "ca": true, "client": true, "skip_verify": true, "header": true, "override_path": true, "dial_timeout": true,
}))

// unknownKeys reports keys that containerd does not know, in the root and in the
// tables of hosts.
func (f *file) unknownKeys() []Remark {
	var document map[string]any
	if toml.Unmarshal(f.data, &document) != nil {
		return nil // 1.7 takes it, with a byte order mark
	}
	var list []Remark
	for _, key := range slices.Sorted(maps.Keys(document)) {
		if !slices.Contains(rootKeys, key) && !slices.Contains(settingKeys, key) {
			list = append(list, Remark{Name: KeyUnknown, Line: f.line(key), Text: fmt.Sprintf("containerd does not know the key %q and ignores it", key), Repair: "take it out, or correct its spelling"})
		}
	}
	tables, _ := document["host"].(map[string]any)
	for _, host := range slices.Sorted(maps.Keys(tables)) {
		table, _ := tables[host].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(table)) {
			at := f.line("host", host, key)
			switch {
			case slices.Contains(settingKeys, key):
			case key == "server":
				list = append(list, Remark{KeyAfterTable, at, "server follows a [host] table and belongs to it, where containerd ignores it; the source itself is the last registry", "move it above the first table", true})
			case key == "rewrite":
				list = append(list, Remark{RewriteUnknown, at, "only the containerd that k3s ships knows rewrite; this one ignores it and asks for the name as it is", "write the prefix as a path of the address, with override_path = true", true})
			default:
				list = append(list, Remark{Name: KeyUnknown, Line: at, Text: fmt.Sprintf("containerd does not know the key %q and ignores it", key), Repair: "take it out, or correct its spelling"})
			}
		}
	}
	return list
}

// droppedTables reports hosts that containerd does not see because they have no
// table header of their own.
func (f *file) droppedTables() []Remark {
	var list []Remark
	for _, host := range slices.Sorted(maps.Keys(f.Hosts)) {
		if !slices.Contains(f.order, host) {
			list = append(list, Remark{DottedTableDropped, f.line("host", host),
				fmt.Sprintf("containerd %s sees a host by its table header alone, and this one has none, so it is never asked", f.version),
				fmt.Sprintf("write [host.%q] on a line of its own", plain(host)), true})
		}
	}
	return list
}

// addresses reports addresses that do not lead where they seem to.
func (f *file) addresses() []Remark {
	var list []Remark
	for _, host := range f.order {
		list = append(list, f.address(host, f.Hosts[host], "host", host)...)
	}
	if f.Server != "" {
		list = append(list, f.address(f.Server, f.settings, "server")...)
	}
	return list
}

// address is [file.addresses] for one registry, whose key is at.
func (f *file) address(address string, s settings, at ...string) []Remark {
	var list []Remark
	add := func(name string, fails bool, repair, format string, args ...any) {
		list = append(list, Remark{name, f.line(at...), fmt.Sprintf(format, args...), repair, fails})
	}
	scheme, rest, hasScheme := strings.Cut(plain(address), "://")
	host, api, _ := strings.Cut(rest, "/")
	switch {
	case !hasScheme && strings.HasPrefix(scheme, "http"):
		add(HTTPPrefixedHost, true, fmt.Sprintf("write \"https://%s\"", plain(address)), "the name begins with \"http\", which containerd takes for a scheme, so it is not asked")
		return list
	case !hasScheme:
		add(NoScheme, false, fmt.Sprintf("write \"https://%s\"", plain(address)), "the address has no scheme; containerd takes https")
		host, api, _ = strings.Cut(scheme, "/")
	}
	api = "/" + api
	clean := path.Clean(api)
	switch {
	case s.OverridePath && clean != "/v2" && !strings.HasPrefix(clean, "/v2/") && !strings.Contains(clean+"/", "/v2/"):
		add(APIPathWithoutV2, true, fmt.Sprintf("write https://%s%s/v2, or leave override_path out", host, strings.TrimSuffix(clean, "/")),
			"with override_path containerd asks for repositories right below %s, and a registry has them below /v2", clean)
	case !s.OverridePath && strings.HasPrefix(clean, "/v2/") && !strings.HasSuffix(clean, "/v2"):
		add(OverridePathMissing, true, "add override_path = true", "without override_path containerd adds /v2 once more and asks for %s/v2", clean)
	case len(api) > 1 && strings.HasSuffix(api, "/"):
		add(TrailingPath, false, "take the slash off the end", "the address ends with a slash")
	}
	if strings.HasPrefix(address, "http://") && (s.CA != nil || s.Client != nil || s.SkipVerify != nil) && !strings.HasSuffix(host, ":80") {
		add(HTTPWithTLSKeys, false, "write https://, or take ca, client and skip_verify out", "with a TLS setting beside http:// containerd tries https first, at each request")
	}
	if s.Client != nil {
		if pairs, ok := s.Client.([]any); ok && len(pairs) == 2 {
			if _, one := pairs[0].(string); one {
				key, _ := pairs[1].(string)
				if strings.Contains(strings.ToLower(path.Base(key)), "key") {
					add(ClientFlatPair, true, fmt.Sprintf("write client = [[%q, %q]]", pairs[0], key), "containerd takes this list for two files with a certificate and its key in each, and fails the pull")
				}
			}
		}
	}
	return list
}

// rootHeader reports a header at the root of a file without a server: containerd
// sends it to the source.
func (f *file) rootHeader() []Remark {
	if f.Server != "" || len(f.Header) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.Header)) {
		if mirror.IsSecretHeader(name) {
			return []Remark{{RootHeaderWithoutServer, f.line("header", name),
				fmt.Sprintf("the file has no server, so containerd sends the header %s to the source itself", name),
				"move it into the table of the host that it is for", true}}
		}
	}
	return nil
}

// oneHost reports two addresses on one host and port: containerd keeps one token
// for both.
func (f *file) oneHost() []Remark {
	seen := map[string]string{}
	var list []Remark
	for i, address := range append(slices.Clone(f.order), f.Server) {
		scheme, host, api, err := dial(address, i < len(f.order) && f.Hosts[address].OverridePath || i == len(f.order) && f.OverridePath)
		if err != nil || host == "" {
			continue
		}
		at := []string{"host", address}
		if i == len(f.order) {
			at = []string{"server"}
		}
		where := scheme + "://" + host
		if first, ok := seen[where]; ok && first != api {
			list = append(list, Remark{TwoTargetsOneHost, f.line(at...),
				fmt.Sprintf("%s stands here twice with different paths; containerd keeps one token for a host, so the second is asked with the first one's", host),
				"keep one of them, or give the registry a second name", true})
		}
		seen[where] = api
	}
	return list
}

// plain returns an address without the user and the password in it.
func plain(address string) string {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		u.User = nil
		return u.String()
	}
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[i+1:]
	}
	return address
}
