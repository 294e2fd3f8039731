package main

import (
	"fmt"
	"strings"
)

// A mutation is one thing that is broken on purpose.
type mutation struct {
	name   string
	breaks string // the promise, or what an attacker gains
	file   string // in the module
	old    string
	new    string
	pkg    string // of the test
	test   string // that has to fail
}

// parse reads mutations, each of which begins with a line "== name". "-" and "+"
// begin the lines to replace and those instead.
func parse(text string) ([]mutation, error) {
	var all []mutation
	seen := map[string]bool{}
	for _, part := range strings.Split("\n"+text, "\n== ")[1:] {
		m, err := parseOne(part)
		if err != nil {
			return nil, err
		}
		if seen[m.name] {
			return nil, fmt.Errorf("mutation %q is there twice", m.name)
		}
		seen[m.name] = true
		all = append(all, m)
	}
	return all, nil
}

func parseOne(text string) (mutation, error) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	m := mutation{name: lines[0]}
	var old, replacement []string
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, "-"):
			old = append(old, line[1:])
		case strings.HasPrefix(line, "+"):
			replacement = append(replacement, line[1:])
		case key == "breaks":
			m.breaks = value
		case key == "file":
			m.file = value
		case key == "test":
			m.pkg, m.test, _ = strings.Cut(value, " ")
		case line != "" && !strings.HasPrefix(line, "#"):
			return m, fmt.Errorf("mutation %q: line %q", m.name, line)
		}
	}
	m.old, m.new = strings.Join(old, "\n")+"\n", strings.Join(replacement, "\n")+"\n"
	if len(replacement) == 0 {
		m.new = ""
	}
	if m.breaks == "" || m.file == "" || m.test == "" || len(old) == 0 {
		return m, fmt.Errorf("mutation %q has no breaks, file, test or text to replace", m.name)
	}
	return m, nil
}
