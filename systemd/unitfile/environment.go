package unitfile

import (
	"strings"
	"unicode/utf8"
)

// parseEnvironment returns what an environment file sets (systemd.exec(5),
// EnvironmentFile=; the states are those of src/basic/env-file.c, v252). It ignores
// lines that set nothing, and invalid names.
func parseEnvironment(data []byte) map[string]string {
	set := map[string]string{}
	for _, a := range assignments(data) {
		set[a.name] = a.value
	}
	return set
}

// An assignment is one that an environment file makes.
type assignment struct {
	name, value string
	// from and to are the beginning and the end of its value: after the "=", and at
	// the end of its last line.
	from, to int
	// open says that a quote, or a backslash, waits for more at the end of the
	// file.
	open bool
}

// assignments returns those of an environment file, in their order.
func assignments(data []byte) []assignment { return parse(data).list }

// parse reads an environment file.
func parse(data []byte) environment {
	e := environment{state: beforeKey}
	for e.at = range len(data) {
		e.state = e.next(data[e.at])
	}
	e.at = len(data)
	switch e.state {
	case beforeKey, inKey, inComment, afterCommentBackslash:
	default:
		open, before := e.state != beforeValue && e.state != inValue, len(e.list)
		if e.done(); len(e.list) > before {
			e.list[before].open = open
		}
	}
	return e
}

type state int

const (
	beforeKey state = iota
	inComment
	afterCommentBackslash
	inKey
	beforeValue
	inValue
	afterBackslash
	inSingle
	inDouble
	afterDoubleBackslash
)

type environment struct {
	list     []assignment
	state    state
	at, from int // where the reader is, and where the value began
	// noText is where the first assignment ends that is not UTF-8, 0 if none is.
	noText     int
	key, value []byte
	// kept is how much of value stays when blanks at its end are cut off.
	kept int
}

// done ends the assignment that was read.
func (e *environment) done() state {
	if e.noText == 0 && !(utf8.Valid(e.key) && utf8.Valid(e.value)) {
		e.noText = e.at
	}
	key := strings.TrimRight(string(e.key), " \t")
	if isVariable(key) {
		e.list = append(e.list, assignment{name: key, value: string(e.value[:e.kept]), from: e.from, to: e.at})
	}
	e.key, e.value, e.kept = nil, nil, 0
	return beforeKey
}

// keep adds characters to the value that must not be trimmed at its end.
func (e *environment) keep(c ...byte) {
	e.value = append(e.value, c...)
	e.kept = len(e.value)
}

func (e *environment) next(c byte) state {
	newline, blank := c == '\n' || c == '\r', c == ' ' || c == '\t' || c == '\n' || c == '\r'
	switch e.state {
	case beforeKey:
		switch {
		case c == '#' || c == ';':
			return inComment
		case !blank:
			e.key = append(e.key, c)
			return inKey
		}
	case inKey:
		switch {
		case newline:
			e.key = nil
			return beforeKey
		case c == '=':
			e.from = e.at + 1
			return beforeValue
		}
		e.key = append(e.key, c)
	case beforeValue, inValue:
		return e.unquoted(c, newline, blank)
	case afterBackslash:
		if !newline {
			e.keep(c)
		}
		return inValue
	case inSingle:
		if c == '\'' {
			return beforeValue
		}
		e.keep(c)
	case inDouble, afterDoubleBackslash:
		return e.double(c)
	case inComment:
		switch {
		case c == '\\':
			return afterCommentBackslash
		case newline:
			return beforeKey
		}
	case afterCommentBackslash:
		return inComment
	}
	return e.state
}

// unquoted handles a character of a value outside of quotes.
func (e *environment) unquoted(c byte, newline, blank bool) state {
	switch {
	case newline:
		return e.done()
	case c == '\\':
		return afterBackslash
	case e.state == beforeValue && c == '\'':
		return inSingle
	case e.state == beforeValue && c == '"':
		return inDouble
	case e.state == beforeValue && blank:
		return beforeValue
	case blank:
		e.value = append(e.value, c)
	default:
		e.keep(c)
	}
	return inValue
}

// double handles a character between double quotes.
func (e *environment) double(c byte) state {
	switch {
	case e.state == afterDoubleBackslash:
		if strings.IndexByte("\"\\`$", c) >= 0 {
			e.keep(c)
		} else if c != '\n' {
			e.keep('\\', c)
		}
	case c == '"':
		return beforeValue
	case c == '\\':
		return afterDoubleBackslash
	default:
		e.keep(c)
	}
	return inDouble
}

// isVariable reports whether a variable can have that name.
func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// words splits a line at its blanks and removes quotes and backslashes. In a unit's own
// settings a backslash begins an escape, as in C; in a variable's value it is only
// removed.
func words(line string, escapes bool) []string {
	var list []string
	var word []byte
	begun, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && i+1 < len(line):
			i++
			if c = line[i]; escapes {
				c = unescape(c)
			}
			word, begun = append(word, c), true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word = append(word, c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case strings.IndexByte(" \t\n\r", c) >= 0:
			if begun {
				list = append(list, string(word))
			}
			word, begun = nil, false
		default:
			word, begun = append(word, c), true
		}
	}
	if begun {
		list = append(list, string(word))
	}
	return list
}

// unescape returns the character for a letter after a backslash. Numeric escapes are
// not supported.
func unescape(c byte) byte {
	if i := strings.IndexByte("abfnrtvs", c); i >= 0 {
		return "\a\b\f\n\r\t\v "[i]
	}
	return c
}

// variables expands the variables in one word of a command: $A as a whole word is split
// at its blanks, ${A} is inserted unchanged, and $$ is a dollar sign.
func (c *Command) variables(word string, env map[string]setting) []string {
	value := func(name string) string {
		v, ok := env[name]
		if !ok {
			c.Unset = append(c.Unset, name)
		}
		return v.value
	}
	if name, ok := strings.CutPrefix(word, "$"); ok && isVariable(name) {
		return words(value(name), false)
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(word, "$")
		b.WriteString(before)
		if !found {
			return []string{b.String()}
		}
		name, rest, braces := strings.Cut(strings.TrimPrefix(after, "{"), "}")
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			word = after[1:]
		case braces && strings.HasPrefix(after, "{") && isVariable(name):
			b.WriteString(value(name))
			word = rest
		default:
			b.WriteByte('$')
			word = after
		}
	}
}

// Environment returns the variables that a service's unit, its drop-ins and its
// environment files set. Errors are those of [ReadCommand].
func Environment(files Files, name string) (map[string]string, error) {
	s, err := read(files, name)
	if err != nil {
		return nil, err
	}
	all, err := s.environments(files)
	if err != nil {
		return nil, err
	}
	env := make(map[string]string, len(all))
	for key, one := range all {
		env[key] = one.value
	}
	return env, nil
}
