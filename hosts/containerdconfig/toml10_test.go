package containerdconfig

import "testing"

func TestNewerTOML(t *testing.T) {
	for in, newer := range map[string]bool{
		"a = {\n b = 1 }":                       true,
		"a = { b = 1, }":                        true,
		"a = { b = 1,\t}":                       true,
		"a = { b = [\n1,\n], c = 1 }":           false,
		"a = [\n{ b = 1 },\n]":                  false,
		"a = [{ b = {} # }\n}]":                 true,
		"a = \"\\x41\"":                         true,
		"a = \"\"\"\n\\x41\"\"\"":               true,
		"a = \"\\e\"":                           false,
		"a = '\\x41'":                           false,
		"a = '''\n\\x41\n'''":                   false,
		"a = \"\\\\x41\"":                       false,
		"a = \"{\"\nb = 1":                      false,
		"# {\nb = 1\n# }":                       false,
		"a = 07:32":                             true,
		"a = 07:32:00":                          false,
		"a = 1979-05-27 07:32":                  true,
		"a = 1979-05-27T07:32:00-07:00":         false,
		"a = 1979-05-27T07:32-07:00":            true,
		"a = \"07:32\"":                         false,
		"a = \"\"\"a\"\"\"\"\nb = { c = 1 }":    false,
		"[a.\"{\"]\nb = ''\nc = \"\"\n":         false,
		"a = '''x'''''\nb = { c = '}' }\nc = 1": false,
	} {
		if got := newerTOML([]byte(in)) >= 0; got != newer {
			t.Errorf("newerTOML(%q) = %t; want %t", in, got, newer)
		}
	}
}
