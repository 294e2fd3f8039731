package plan

import (
	"testing"
)

// TestRedactEnv holds the ways to write an environment variable's value.
func TestRedactEnv(t *testing.T) {
	tests := map[string]string{
		"env:\n- name: A\n  value: c4n4ry\n- name: B\n":             "env:\n- name: A\n  value: [secret]\n- name: B\n",
		"env:\n- value: c4n4ry\n  name: A\n":                        "env:\n- value: [secret]\n  name: A\n",
		"env:\n- name: A\n  value: |\n    c4n4ry\n\n    c4n4ry\nx:": "env:\n- name: A\n  value: [secret]\nx:",
		"env:\n- name: A\n  value: \"c4n\n    4ry\"\nx: y\n":        "env:\n- name: A\n  value: [secret]\nx: y\n",
		"env: [{name: A, value: c4n4ry}]\n":                         "env: [{name: A, value: [secret]\n",
		"{\n  \"name\": \"A\",\n  \"value\": \"c4n4ry\"\n}\n":       "{\n  \"name\": \"A\",\n  \"value\": [secret]\n}\n",
	}
	for text, want := range tests {
		if got := redactEnv(text, false); got != want {
			t.Errorf("redactEnv(%q) = %q; want %q", text, got, want)
		}
	}
}

// TestDiffOfClosedFile has other providers' arguments in a file that is closed to
// others.
func TestDiffOfClosedFile(t *testing.T) {
	for text, want := range map[string]string{
		"  args:\n  - --password=c4n4ry\n  - c4n4ry\n  name: x\n":                            "  args: [secret]\n  name: x\n",
		"  args:\n    - c4n4ry\n  env:\n    - name: A\n      value: c4n4ry\n    - name: B\n": "  args: [secret]\n  env:\n    - name: A\n      value: [secret]\n    - name: B\n",
		"- args: [c4n4ry,\n   c4n4ry]\n  name: x\n":                                          "- args: [secret]\n  name: x\n",
		"\"args\": [\"c4n4ry\"],\n":                                                          "\"args\": [secret]\n",
	} {
		if got := redactEnv(text, true); got != want {
			t.Errorf("redactEnv(%q) = %q; want %q", text, got, want)
		}
	}
}
