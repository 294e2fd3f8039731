package importer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (r route) text(share bool) string {
	var b strings.Builder
	b.WriteString("\n")
	for _, note := range r.notes {
		fmt.Fprintf(&b, "# %s\n", oneLine(note))
	}
	names := make([]string, len(r.targets))
	for i, t := range r.targets {
		names[i] = t.name
		if t.self {
			names[i] = r.source
		}
	}
	fmt.Fprintf(&b, "[[mirror]]\nsource  = %s\ntargets = %s\n", quote(r.source), list(names))
	if share {
		b.WriteString("share_credential = true\n")
	}
	b.WriteString(headerLine(r.header))
	return b.String()
}

func (r registry) text() string { return fmt.Sprintf("\n[registry.%s]\n%s", quote(r.key), r.says()) }

// says returns the lines of the table.
func (r registry) says() string {
	var b strings.Builder
	if r.credential != "" {
		fmt.Fprintf(&b, "credential = %s\n", quote(r.credential))
	}
	if len(r.ca) > 0 {
		fmt.Fprintf(&b, "ca = %s\n", list(r.ca))
	}
	if len(r.client) > 0 {
		var pairs []string
		for _, p := range r.client {
			pairs = append(pairs, list(p[:]))
		}
		fmt.Fprintf(&b, "client = [%s]\n", strings.Join(pairs, ", "))
	}
	if r.skipVerify {
		b.WriteString("skip_verify = true\n")
	}
	if r.dialTimeout > 0 {
		fmt.Fprintf(&b, "dial_timeout = %s\n", quote(r.dialTimeout.String()))
	}
	if len(r.capabilities) > 0 {
		fmt.Fprintf(&b, "capabilities = %s\n", list(r.capabilities))
	}
	b.WriteString(headerLine(r.header))
	return b.String()
}

func headerLine(header map[string][]string) string {
	if len(header) == 0 {
		return ""
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(header)) {
		pairs = append(pairs, quote(name)+" = "+list(header[name]))
	}
	return fmt.Sprintf("header = { %s }\n", strings.Join(pairs, ", "))
}

func (d *draft) writeCredentials() string {
	var b strings.Builder
	for _, c := range d.credentials {
		key := "path"
		if c.kind == "azure" {
			key = "config"
		}
		fmt.Fprintf(&b, "\n[credential.%s]\nkind = %s\n%s = %s\n", quote(c.name), quote(c.kind), key, quote(c.path))
	}
	return b.String()
}

func commented(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		if line != "" && line[0] != '#' {
			lines[i] = "# " + line
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// quote returns a string in TOML. JSON's escapes are valid in TOML.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`)
}

func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// oneLine keeps a text from ending the comment around it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
