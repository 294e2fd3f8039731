package unitfile

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// IsPlain reports whether a word needs no quoting in an environment file, in a unit, or
// in a shell: it has no blanks, quotes, "\", "$", "%" or control characters.
func IsPlain(word string) bool {
	for _, c := range []byte(word) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"'`\\$%#;&|<>(){}*?!~", c) >= 0 {
			return false
		}
	}
	return word != ""
}

// Words returns the words that "$name" in a command expands to, by an environment file
// alone, and whether the file sets that variable.
func Words(data []byte, name string) (list []string, set bool) {
	value, set := parseEnvironment(data)[name]
	return words(value, false), set
}

// SetWords returns an environment file in which the last assignment of a variable has
// the words want, so that a command with "$name" gets those. The rest of the file stays
// the same, byte for byte, and as much of the value as possible. If the file does not
// set the variable, it gets a new line at the end.
//
// The result is read again by the rules of systemd. It is an error if the variable does
// not have exactly those words, or if another variable has changed. New words must be
// plain, see [IsPlain].
func SetWords(data []byte, name string, want []string) ([]byte, error) {
	if !isVariable(name) {
		return nil, fmt.Errorf("%q is not the name of a variable", name)
	}
	if err := isText(data); err != nil {
		return nil, err
	}
	before := parseEnvironment(data)
	have := words(before[name], false)
	for _, word := range want {
		if !slices.Contains(have, word) && !IsPlain(word) {
			return nil, fmt.Errorf("%q has a character that systemd, or a shell, gives a meaning; use letters, digits and \"/._=:,+-\"", word)
		}
	}
	_, set := before[name]
	if set && slices.Equal(have, want) {
		return data, nil
	}
	for _, candidate := range candidates(data, name, have, want) {
		after := parseEnvironment(candidate)
		value, set := after[name]
		if set && slices.Equal(words(value, false), want) && sameBut(name, before, after) {
			return candidate, nil
		}
	}
	return nil, fmt.Errorf("%s cannot be set there without changing the meaning of another line; check that each quote and comment ends on its line", name)
}

// isText returns why systemd passes over a whole environment file: a NUL byte anywhere,
// or an assignment that is not UTF-8 (src/basic/fileio.c, read_full_stream_full, and
// src/basic/env-file.c, check_utf8ness_and_warn, v252).
func isText(data []byte) error {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return fmt.Errorf("line %d has a NUL byte, so systemd takes nothing from the file; write that line again", 1+bytes.Count(data[:i], []byte("\n")))
	}
	if at := parse(data).noText; at > 0 {
		return fmt.Errorf("line %d is not UTF-8, so systemd takes nothing from the file; write that line again", 1+bytes.Count(data[:at], []byte("\n")))
	}
	return nil
}

// sameBut reports whether two environments differ at most in the variable name.
func sameBut(name string, a, b map[string]string) bool {
	for _, pair := range [2][2]map[string]string{{a, b}, {b, a}} {
		for key, value := range pair[0] {
			if other, ok := pair[1][key]; key != name && (!ok || other != value) {
				return false
			}
		}
	}
	return true
}

// candidates returns ways to write the new words, the smallest change first. The caller
// must find out which of them works.
func candidates(data []byte, name string, have, want []string) [][]byte {
	a, ok := last(assignments(data), name)
	if !ok {
		line := name + "=" + strings.Join(want, " ")
		if len(want) > 1 {
			line = name + `="` + strings.Join(want, " ") + `"`
		}
		if len(data) > 0 && data[len(data)-1] != '\n' {
			line = "\n" + line
		}
		return [][]byte{slices.Concat(data, []byte(line+"\n"))}
	}
	if a.open {
		return nil // what comes next in the file is part of the value already
	}
	raw := data[a.from:a.to]
	put := func(value []byte) []byte { return slices.Concat(data[:a.from], value, data[a.to:]) }
	var list [][]byte
	if len(want) > len(have) && slices.Equal(have, want[:len(have)]) {
		more := strings.Join(want[len(have):], " ")
		if len(bytes.TrimSpace(raw)) > 0 {
			more = " " + more
		}
		trimmed := bytes.TrimSpace(raw)
		end := len(bytes.TrimRight(raw, " \t"))
		switch {
		case len(trimmed) == 0 || trimmed[0] != '"' && trimmed[0] != '\'':
			list = append(list, put(slices.Concat(raw, []byte(more))))
		case trimmed[len(trimmed)-1] == trimmed[0]: // one quoted part, if the candidate holds
			if len(trimmed) == 2 {
				more = more[1:]
			}
			list = append(list, put(slices.Concat(raw[:end-1], []byte(more), raw[end-1:])))
		}
	}
	if swapped, ok := swap(raw, have, want); ok {
		list = append(list, put(swapped))
	}
	return append(list, put([]byte(quote(want))))
}

func last(list []assignment, name string) (found assignment, ok bool) {
	for _, a := range list {
		if a.name == name {
			found, ok = a, true
		}
	}
	return found, ok
}

// swap replaces the removed words by the new ones. Each removed word must occur once,
// without quoting.
func swap(raw []byte, have, want []string) ([]byte, bool) {
	text := string(raw)
	var out, in []string
	for _, word := range have {
		if !slices.Contains(want, word) {
			out = append(out, word)
		}
	}
	for _, word := range want {
		if !slices.Contains(have, word) {
			in = append(in, word)
		}
	}
	if len(in) > len(out) {
		return nil, false
	}
	for i, word := range out {
		if strings.Count(text, word) != 1 {
			return nil, false
		}
		switch {
		case i < len(in):
			text = strings.Replace(text, word, in[i], 1)
		case strings.Contains(text, " "+word):
			text = strings.Replace(text, " "+word, "", 1)
		case strings.Contains(text, word+" "):
			text = strings.Replace(text, word+" ", "", 1)
		default:
			text = strings.Replace(text, word, "", 1)
		}
	}
	return []byte(text), true
}

// quote writes words as a value in one pair of double quotes. A backslash is escaped
// twice, as it is read twice: inside the quotes, and when the value is split.
func quote(list []string) string {
	var b strings.Builder
	for i, word := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		if word == "" {
			b.WriteString(`''`)
		}
		for _, c := range []byte(word) {
			if strings.IndexByte(" \t\n\r\"'\\", c) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
	}
	value := b.String()
	for _, c := range "\\\"$`" {
		value = strings.ReplaceAll(value, string(c), `\`+string(c))
	}
	return `"` + value + `"`
}

// Names returns the variables that an environment file sets, in order.
func Names(data []byte) []string { return slices.Sorted(maps.Keys(parseEnvironment(data))) }
