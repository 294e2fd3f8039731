package node

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/pelletier/go-toml/v2"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// hidden stands where a secret stood.
const hidden = "[secret]"

// Diff returns the changes as a unified diff, with no secret in it. Routes are
// left out: they follow from the rest.
func (p Plan) Diff() string {
	var b strings.Builder
	for _, c := range p.Changes {
		if c.Stage == StageRoutes || c.Stage == StageForget {
			continue
		}
		before, after := redact(c, c.Old), redact(c, c.New)
		old, now := "a"+c.Path, "b"+c.Path
		if c.Old == nil {
			old = "/dev/null"
		}
		if c.New == nil {
			now = "/dev/null"
		}
		if before == after {
			fmt.Fprintf(&b, "--- %s\n+++ %s\n(only what is not shown differs: a secret or a mode)\n", old, now)
			continue
		}
		b.WriteString(udiff.Unified(old, now, before, after))
	}
	return b.String()
}

// redact returns a file's text without what only root may read.
func redact(c Change, data []byte) string {
	if data == nil {
		return ""
	}
	if c.Stage == StageKubelet {
		return redactEnv(string(data))
	}
	return redactHeaders(data, c.secret)
}

// redactHeaders hides the values of headers in a hosts.toml, whoever wrote it.
// all hides those of every header, else only of those that hold secrets by
// their name.
func redactHeaders(data []byte, all bool) string {
	type table struct {
		Header map[string]any `toml:"header"`
	}
	var file struct {
		table
		Host map[string]table `toml:"host"`
	}
	text := string(data)
	if err := toml.Unmarshal(data, &file); err != nil {
		return fmt.Sprintf("(%d bytes that are not TOML)\n", len(data))
	}
	headers := []map[string]any{file.Header}
	for _, host := range file.Host {
		headers = append(headers, host.Header)
	}
	for _, header := range headers {
		for name, value := range header {
			if all || mirror.IsSecretHeader(name) {
				text = hide(text, value)
			}
		}
	}
	return text
}

// hide replaces a header's value, or its values, in a text.
func hide(text string, value any) string {
	switch v := value.(type) {
	case string:
		if v != "" {
			// As it stands in a TOML string, and as it is.
			escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v)
			text = strings.ReplaceAll(strings.ReplaceAll(text, escaped, hidden), v, hidden)
		}
	case []any:
		for _, one := range v {
			text = hide(text, one)
		}
	}
	return text
}

// envValue matches the value of an environment variable in a provider's
// configuration, in YAML or JSON: other providers' variables may hold secrets.
var envValue = regexp.MustCompile(`(?m)(\bvalue"?\s*:\s*)[^\s].*$`)

func redactEnv(text string) string { return envValue.ReplaceAllString(text, "${1}"+hidden) }
