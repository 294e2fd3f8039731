package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBashCompletion has bash complete command lines with the script.
func TestBashCompletion(t *testing.T) {
	script := filepath.Join(t.TempDir(), "mirrorcred")
	var text strings.Builder
	if err := run(t.Context(), []string{"completion", "bash"}, &text); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"":                     "apply watch deliver status units plugin events check explain import rbac pull bootstrap install courier completion version help --help --version",
		"ap":                   "apply",
		"apply --dr":           "--dry-run",
		"apply --ro":           "--root",
		"--root / apply --ad":  "--adopt",
		"apply --root /et":     "/etc",
		"completion z":         "zsh",
		"help ex":              "explain",
		"import /etc/pass":     "/etc/passwd",
		"import --sh":          "--share",
		"check --json --m":     "--map",
		"check --map /etc/pas": "/etc/passwd",
		"unknown ":             "apply watch deliver status units plugin events check explain import rbac pull bootstrap install courier completion version help --help --version",
	} {
		words := append([]string{"mirrorcred"}, strings.Split(line, " ")...)
		quoted := "'" + strings.Join(words, "' '") + "'"
		out, err := exec.Command("bash", "-c", "source "+script+"; COMP_WORDS=("+quoted+"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _mirrorcred; echo \"${COMPREPLY[@]}\"").CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("mirrorcred %s<TAB>: %q, %v; want %q", line, got, err, want)
		}
	}
}

// TestCompletionsMatchHelp checks that each command and each of its flags is in
// each script and in the manual, with its text.
func TestCompletionsMatchHelp(t *testing.T) {
	for _, kind := range words["completion"] {
		var b strings.Builder
		if err := run(t.Context(), []string{"completion", kind}, &b); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(b.String(), `\-`, "-")
		for _, c := range commands() {
			if summary := summaryOf(c.name); summary == "" || kind != "bash" && !strings.Contains(text, strings.ReplaceAll(summary, "'", map[string]string{"zsh": `'\''`, "fish": `\'`, "man": "'"}[kind])) {
				t.Errorf("%s lacks the line of help for %s: %q", kind, c.name, summary)
			}
			for _, f := range flagsOf(c) {
				flag := "--" + f.long
				if kind == "fish" {
					flag = "-l " + f.long
				}
				if !strings.Contains(text, flag) {
					t.Errorf("%s lacks %s of %s", kind, flag, c.name)
				}
			}
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // the shell of this machine is enough
		}
		var b strings.Builder
		if err := run(t.Context(), []string{"completion", shell}, &b); err != nil {
			t.Fatal(err)
		}
		check := exec.Command(path, "-n")
		check.Stdin = strings.NewReader(b.String())
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s does not take its script: %v\n%s", shell, err, out)
		}
	}
}

// TestHelpNamesEveryFlag asks each command for each flag that its help has: none is
// unknown.
func TestHelpNamesEveryFlag(t *testing.T) {
	for _, c := range commands() {
		if c.name == "help" {
			continue
		}
		flags := flagsOf(c)
		if !slices.ContainsFunc(flags, func(f flagHelp) bool { return f.long == "help" && f.short == "h" }) {
			t.Errorf("the help of %s does not name --help", c.name)
		}
		for _, f := range flags {
			// With --help, nothing but the help is printed.
			args := []string{c.name, "--" + f.long}
			if f.value != "" {
				args[1] += "=5s"
			}
			var b strings.Builder
			if err := run(t.Context(), append(args, "--help"), &b); err != nil || b.String() != c.usage {
				t.Errorf("mirrorcred %s --help: %v\n%s", strings.Join(args, " "), err, &b)
			}
		}
	}
}

// TestHelpExamples holds that each command's help has an example that the command
// understands, and that each command which writes to a node, and then ends, has -n.
func TestHelpExamples(t *testing.T) {
	writes := []string{"apply", "deliver", "units", "plugin", "bootstrap", "install"}
	for _, c := range commands() {
		_, example, _ := strings.Cut(c.usage, "\nExample")
		lines := commandLines(strings.ReplaceAll(example, "\n  ", "\n"))
		if len(lines) == 0 && c.name != "help" {
			t.Errorf("the help of %s has no example", c.name)
		}
		for _, args := range lines {
			if err := run(t.Context(), append(args, "--help"), new(strings.Builder)); err != nil {
				t.Errorf("the example of %s: %v", c.name, err)
			}
		}
		hasDryRun := slices.ContainsFunc(flagsOf(c), func(f flagHelp) bool { return f.short == "n" && f.long == "dry-run" })
		if hasDryRun != slices.Contains(writes, c.name) {
			t.Errorf("%s has -n: %v", c.name, hasDryRun)
		}
	}
}
