package mirror

import (
	"fmt"
	"strings"
	"testing"
)

// TestTooDeep hides nested tables and lists behind strings and comments. Without the
// limit, 40 kB of dots took 40 s and gigabytes.
func TestTooDeep(t *testing.T) {
	const deep = mostNesting + 1
	open, shut := strings.Repeat("[", deep), strings.Repeat("]", deep)
	for name, text := range map[string]string{
		"dots":                    "a" + strings.Repeat(".a", 20_000) + " = 1",
		"dots and spaces":         "a" + strings.Repeat(" . a", deep) + " = 1",
		"quoted names":            `"a"` + strings.Repeat(`."a"`, deep) + " = 1",
		"a header":                "[a" + strings.Repeat(".a", deep) + "]",
		"tables":                  strings.Repeat("a = {", deep) + strings.Repeat("}", deep),
		"lists":                   "a = " + open + shut,
		"a million lists":         "a = " + strings.Repeat("[", 1_000_000),
		"tables in lists":         strings.Repeat("a = [{", deep) + strings.Repeat("}]", deep),
		"after a string":          `b = "]]]" # ` + "\na = " + open + shut,
		"shut in strings":         "a = " + strings.Repeat(`["]",`, deep) + shut,
		"shut in literal strings": "a = " + strings.Repeat(`[']',`, deep) + shut,
		"shut in long strings":    "a = " + strings.Repeat(`["""]"]""",`, deep) + shut,
		"shut in long literals":   "a = " + strings.Repeat(`[''']'']''',`, deep) + shut,
		"shut in comments":        "a = " + strings.Repeat("[ # ]\n", deep) + shut,
		"an escaped quote":        "a = " + strings.Repeat(`["\"]",`, deep) + shut,
		"a backslash at the end":  "a = " + strings.Repeat(`['\', "]",`, deep) + shut,
		"a quote at the end":      "a = " + strings.Repeat(`["""]"""",`, deep) + shut,
		"two quotes at the end":   "a = " + strings.Repeat(`["""]""""",`, deep) + shut,
	} {
		_, err := Parse("map", []byte("version = 1\n"+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), "nested more than 16 deep") {
			t.Errorf("%s: %.200v; want that it is nested too deep", name, err)
		}
	}
	for name, text := range map[string]string{
		"brackets in a string":      `a = "` + open + `"`,
		"brackets in a long string": `a = """` + "\n" + open + "\n\"" + open + `""""`,
		"brackets in a comment":     "# " + open,
		"dots in a comment":         "# ..................",
		"dots in a string":          `a = "...................."`,
		"many lists":                "a = [" + strings.Repeat("[], ", 100) + "]",
		"many hosts":                "a = [" + strings.Repeat(`"a.b.c.d", `, 100) + "]",
		"many tables":               strings.Repeat("[[a]]\n", 100),
	} {
		if line := tooDeep([]byte(text + "\n")); line != 0 {
			t.Errorf("%s: too deep in line %d", name, line)
		}
	}
}

// TestGrowing parses maps of less than a megabyte that would become gigabytes, or take
// hours.
func TestGrowing(t *testing.T) {
	list := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ text, want string }{
		"targets":                  {"[[mirror]]\nsource = \"docker.io\"\ntargets = [" + list(50_000, `"h%d.io",`) + "]", "[[mirror]] has 50000 targets; write 100 at most"},
		"headers":                  {"[registry.\"a.io\"]\nheader = {" + strings.TrimSuffix(list(20_000, `X-A%d = "",`), ",") + "}", "header of [registry.\"a.io\"] has "},
		"a long header":            {"[registry.\"a.io\"]\nheader = {X-A = \"" + strings.Repeat("x", mostHeader) + "\"}", "and servers refuse that many; write 8192 at most"},
		"one header, many mirrors": {list(6000, "[[mirror]]\nsource = \"h%d.io\"\ntargets = [\"a.io\"]\n") + "[registry.\"a.io\"]\nheader = {X-A = \"" + strings.Repeat("x", 8000) + "\"}", "bytes in this map; write 33554432 at most"},
		"many values":              {"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"a.io\"]\nheader = {X-A = [" + strings.Repeat(`"x",`, mostHeader) + "]}", "header of [[mirror]] has "},
		"prefixes":                 {list(600, "[[mirror]]\nsource = \"h%d.io\"\ntargets = [\"a.io\"]\n") + list(500, "[registry.\"a.io/x%d\"]\n"), "which are 300000 in this map; write 250000 at most"},
		"a long name":              {strings.Repeat("x", 500_000) + " = 1", "unknown key \"xxx"},
		"unknown keys":             {list(50_000, "x%d = 1\n"), "there are 49000 more faults; repair these first"},
		"credentials":              {list(20_000, "[credential.c%d]\n") + list(20, "[registry.\"h%d.io\"]\ncredential = \"x\"\n"), "more faults"},
		"an unused list":           {"[credential]\n" + list(50_000, "c%d = {}\n"), "more faults"},
	} {
		if len(c.text) > 1<<20 {
			t.Errorf("%s: %d bytes", name, len(c.text))
		}
		_, err := ParseDelivered("map", []byte("version = 1\n"+c.text+"\n"), NothingAllowed("allowed.toml"))
		if text := fmt.Sprint(err); !strings.Contains(text, c.want) || len(text) > 1<<20 {
			t.Errorf("%s: %d bytes: %.300s; want %q", name, len(text), text, c.want)
		}
	}
}

// TestInvisible has faults quote what a terminal acts on.
func TestInvisible(t *testing.T) {
	for name, text := range map[string]string{
		"a header's file":  "[registry.\"a.io\".header.\"\\u001b[2J\\nx\"]\nfile = \"/x\"",
		"a variable":       "[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\nenv = {\"\\u001b[2J\" = \"x\"}",
		"another type":     "[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\nenv = {\"\\u009b2J\" = 1}",
		"a command":        "[credential.x]\nkind = \"exec\"\ncommand = \"/\\u202ex\"",
		"a credential":     "[registry.\"a.io\"]\ncredential = \"\\u001b\"",
		"a name":           "[credential.\"\\u001b\"]",
		"a table's key":    "\"\\u001b\" = 1",
		"a file of syntax": "x = \x1b",
	} {
		_, err := ParseDelivered("map", []byte("version = 1\n"+text+"\n"), NothingAllowed("allowed.toml"))
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\u009b\u202e") {
			t.Errorf("%s: %q", name, fmt.Sprint(err))
		}
		for line := range strings.Lines(fmt.Sprint(err)) {
			if !strings.HasPrefix(line, "map:") {
				t.Errorf("%s: a fault has the line %q", name, line)
			}
		}
	}
}

// TestAnnotationKeys has the kubelet's rule: with one key that breaks it, a kubelet
// does not start.
func TestAnnotationKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"a": true, "a.b/x": true, "1.2.3.4/x": true, "a.b/x_y.z-0": true,
		"[::1]/x": false, "[::1]:5000/x": false, "a_b.c/x": false, "A.b/x": false, "a-.b/x": false, "a..b/x": false, "a.b./x": false, "a.b:1/x": false,
		"/x": false, "a.b/": false, "a.b/x/y": false, "-x": false, "x.": false, "": false, strings.Repeat("x", 64): false,
		strings.Repeat("a", 64) + ".b/x": false, strings.Repeat("a.", 127) + "b/x": false,
	} {
		if got := isAnnotationKey(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}

// TestForeignCredential gives a credential to a registry of the writer's, which it is
// not for: the credential that a mirror had before would be offered there without a
// drain.
func TestForeignCredential(t *testing.T) {
	const kinds = "[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor.json\"\n"
	list, err := ParseAllowed("allowed.toml", []byte("version = 1\n[registry.\"harbor.corp\"]\ncredential = \"harbor\"\n[registry.\"mine.azurecr.corp.example\"]\ncredential = \"azure\"\n"+kinds))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		registry, credential string
		isAllowed            bool
	}{
		{"harbor.corp", "harbor", true}, {"harbor.corp:443", "harbor", true}, {"HARBOR.corp", "harbor", true},
		{"evil.example", "harbor", false}, {"harbor.corp:8443", "harbor", false}, {"harbor.corp/x", "harbor", false}, {"harbor.corp.evil.example", "harbor", false},
		{"evil.azurecr.io", "azure", true}, {"mine.azurecr.corp.example", "azure", true}, {"evil.azurecr.example.com", "azure", false}, {"evil.azsacr.x.example.com/x", "azure", false},
		{"evil.azurecr.io", "harbor", false}, {"evil.example", "anonymous", true},
	} {
		for name, text := range map[string]string{
			"direct": "", "target": "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"" + c.registry + "\"]\n",
		} {
			text = "version = 1\n" + text + "[registry.\"" + c.registry + "\"]\ncredential = \"" + c.credential + "\"\n" + kinds
			if _, err := ParseDelivered("map", []byte(text), list); (err == nil) != c.isAllowed || err != nil && !strings.Contains(err.Error(), "is not allowed in a map from the cluster") {
				t.Errorf("%s %s of %s: %v", name, c.credential, c.registry, err)
			}
		}
	}
}

// TestOtherKind gives an allowed name another meaning.
func TestOtherKind(t *testing.T) {
	list, err := ParseAllowed("allowed.toml", []byte(`version = 1
[registry."gcr.io"]
credential = "gcr"
[credential.gcr]
kind = "exec"
command = "/gcr"
audience = "gcp"
[registry."contoso.azurecr.io"]
credential = "wi"
[credential.wi]
kind = "azure"
audience = "api://AzureADTokenExchange"
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"a pod's token, not a program's answer": {"[registry.\"gcr.io\"]\ncredential = \"gcr\"\n[credential.gcr]\nkind = \"service-account-token\"\nusername = \"x\"\naudience = \"gcp\"\n", `map:5: kind "service-account-token" of [credential.gcr] is not allowed`},
		"a pod's token, not Entra's":            {"[registry.\"contoso.azurecr.io\"]\ncredential = \"wi\"\n[credential.wi]\nkind = \"service-account-token\"\nusername = \"x\"\naudience = \"api://AzureADTokenExchange\"\n", `map:5: kind "service-account-token" of [credential.wi] is not allowed`},
		"the node's rights, not the pod's":      {"[registry.\"gcr.io\"]\ncredential = \"gcr\"\n[credential.gcr]\nkind = \"exec\"\ncommand = \"/gcr\"\n", "[credential.gcr] has no audience, without which the node does not allow its command"},
	} {
		if _, err := ParseDelivered("map", []byte("version = 1\n"+c.text), list); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}
