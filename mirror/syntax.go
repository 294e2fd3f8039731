package mirror

import (
	"bytes"
	"fmt"
	"strings"
)

// syntaxFault explains a document that is not TOML. problem and line are the
// decoder's, which names characters and grammar; most documents have one of a few
// mistakes that people make, and those are named instead, with the line to write.
func syntaxFault(file string, data []byte, line int, problem string) *Fault {
	fault := func(line int, text string) *Fault { return &Fault{File: file, Line: line, Text: visible(text)} }
	if at, text := wrongFormat(data); text != "" {
		return fault(at, text)
	}
	lines := strings.Split(string(data), "\n")
	if line < 1 || line > len(lines) {
		return fault(line, "not TOML: "+problem)
	}
	text := strings.TrimSpace(lines[line-1])
	for _, explain := range []func(text, problem string) string{
		explainDuplicate, explainStray, explainHeader, explainList, explainQuotes, explainKey, explainValue,
	} {
		if why := explain(text, problem); why != "" {
			return fault(line, why)
		}
	}
	why := "not TOML: " + problem
	if strings.Contains(text, "\t") {
		why += "; replace the tab in this line by a space"
	}
	return fault(line, why)
}

const example = "version = 1, then [[mirror]], source = \"docker.io\" and targets = [\"contoso.azurecr.io\"]; see docs/map.md"

// wrongFormat recognises a document that was written in another format, and
// returns the line that shows it.
func wrongFormat(data []byte) (int, string) {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return 1, "the file begins with a byte order mark; save it as UTF-8 without one"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return 1, "the file is UTF-16; save it as UTF-8"
	}
	first, line := "", 0 // the first line that is neither empty nor a comment
	for i, text := range strings.Split(string(data), "\n") {
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if first == "" {
			first, line = text, i+1
		}
		if key, _, ok := strings.Cut(text, "="); strings.HasPrefix(text, "[[") || ok && isBareKey(strings.TrimSpace(key)) {
			return 0, "" // a line of TOML
		}
	}
	switch key, ok := yamlKey(first); {
	case strings.HasPrefix(first, "{") && !strings.HasPrefix(first, "{{"), strings.HasPrefix(first, "[{"), first == "[":
		return line, "this is JSON, and the map is TOML; write " + example
	case ok && (key == "mirrors" || key == "configs"):
		return line, "this looks like a registries.yaml of k3s, and the map is TOML; \"mirrorcred import\" makes a map of it"
	case ok, strings.HasPrefix(first, "---"), strings.HasPrefix(first, "- "):
		return line, "this looks like YAML, and the map is TOML; write " + example
	}
	return 0, ""
}

// yamlKey returns the key of a line of YAML, such as "source: docker.io".
func yamlKey(text string) (string, bool) {
	key, rest, ok := strings.Cut(strings.TrimPrefix(text, "- "), ":")
	key = strings.Trim(key, `"' `)
	return key, ok && isBareKey(strings.ReplaceAll(key, ".", "-")) && (rest == "" || rest[0] == ' ')
}

func isBareKey(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// explainDuplicate explains the decoder's error about a key or a table that is
// there twice.
func explainDuplicate(_, problem string) string {
	switch {
	case strings.Contains(problem, "already defined"):
		return problem + "; keep one of the two"
	case strings.Contains(problem, "already exists"):
		return problem + "; join the two"
	}
	return ""
}

// explainStray explains a line that is not meant for TOML at all.
func explainStray(text, problem string) string {
	switch {
	case strings.HasPrefix(text, "<<<<<<<"), strings.HasPrefix(text, "======="), strings.HasPrefix(text, ">>>>>>>"):
		return "this line is left from a merge conflict; resolve it"
	case strings.HasPrefix(text, "//"), strings.HasPrefix(text, ";"), strings.Contains(problem, "U+002F") && strings.Contains(text, " //"):
		return "a comment begins with \"#\""
	case strings.Contains(text, "{{"):
		return "\"{{\" belongs to a template; render the file before it is installed"
	case strings.Contains(problem, "UTF-8"):
		return "a character is not UTF-8; save the file as UTF-8"
	}
	return ""
}

// explainHeader explains the header of a table that is not closed or has a host
// without quotes in it.
func explainHeader(text, problem string) string {
	if !strings.HasPrefix(text, "[") || strings.Contains(problem, "array value") {
		return ""
	}
	name := strings.TrimSpace(strings.Trim(strings.TrimSpace(cutComment(text)), "[]"))
	table, host, ok := strings.Cut(name, ".")
	host = strings.Trim(host, `"'`)
	switch {
	case ok && table == "registry" && isHarmless(host):
		return fmt.Sprintf("write [registry.%q], with quotes around the host and one bracket at each end", host)
	case isBareKey(name) && strings.HasPrefix(text, "[["):
		return fmt.Sprintf("a bracket is missing; write [[%s]]", name)
	case isBareKey(strings.ReplaceAll(name, ".", "-")):
		return fmt.Sprintf("a bracket is missing; write [%s]", name)
	}
	return ""
}

// explainList explains a list without its brackets or its commas.
func explainList(text, problem string) string {
	key, value, ok := cutKey(text)
	switch {
	case strings.Contains(problem, "after array value") && strings.Count(text, `"`)%2 != 0:
		return "a closing quote is missing" + remedy(text)
	case strings.Contains(problem, "after array value") && strings.HasPrefix(text, "["):
		return "the list before this line is not closed; write its \"]\""
	case strings.Contains(problem, "after array value") && ok && isQuotable(key) && openQuote(value) != "":
		return "a closing quote is missing after " + openQuote(value) + remedy(text)
	case strings.Contains(problem, "after array value"):
		return "the list is not closed, or two entries have no comma between them; write [\"a\", \"b\"]"
	case ok && strings.HasPrefix(value, `"`) && strings.Contains(problem, "U+002C"):
		return "a list needs brackets" + remedy(key+" = ["+value+"]")
	case ok && strings.Contains(problem, "expected newline"):
		return "there is more in this line than one key and its value; begin a new line for each key"
	}
	return ""
}

// explainQuotes explains a quote that is missing or is another character.
func explainQuotes(text, problem string) string {
	switch {
	case strings.ContainsAny(text, "“”„‘’"):
		return "the quotes are typographic ones; write straight ones: \""
	case strings.Contains(problem, "strings cannot have new lines"):
		return "a closing quote is missing" + remedy(text)
	case strings.Contains(problem, "at start of value") && strings.HasSuffix(cutComment(text), `"`) && strings.Count(text, `"`) == 1:
		return "an opening quote is missing" + remedy(text)
	case strings.Contains(problem, "escape"):
		return "\"\\\" begins an escape in double quotes; use single quotes, or write \"\\\\\""
	}
	return ""
}

// explainKey explains a line without "=".
func explainKey(text, problem string) string {
	if !strings.Contains(problem, "expected '=' after key") {
		return ""
	}
	if key, ok := yamlKey(text); ok && isBareKey(key) {
		_, value, _ := strings.Cut(text, ":")
		return "a key ends in \"=\", not in \":\"" + remedy(key+" = "+value)
	}
	if isBareKey(text) {
		return fmt.Sprintf("%q has no value; write %s = \"…\"", text, text)
	}
	return ""
}

// explainValue explains a value that is missing or has no quotes.
func explainValue(text, problem string) string {
	if !strings.Contains(problem, "at start of value") {
		return ""
	}
	key, value, ok := cutKey(text)
	switch {
	case !ok:
		return "a value has no quotes; write it as \"…\""
	case value == "":
		return fmt.Sprintf("%s has no value; write %s = \"…\"", key, key)
	case strings.HasPrefix(value, "="):
		return key + " has two \"=\", and one is enough" + remedy(key+" = "+strings.TrimLeft(value, "= "))
	case strings.HasPrefix(value, "{"):
		return fmt.Sprintf("a value of %s has no quotes; write %s = { name = \"…\" }", key, key)
	case key == "version" && strings.Trim(value, "v1.0") == "":
		return "version is a number; write version = 1"
	}
	if write, ok := truth[strings.ToLower(value)]; ok {
		return fmt.Sprintf("%s: %q is not true or false; write %s = %t", key, value, key, write)
	}
	return fmt.Sprintf("the value of %s has no quotes%s", key, remedy(text))
}

// truth are the words for true and false in other formats, in lower case.
var truth = map[string]bool{"true": true, "yes": true, "on": true, "false": false, "no": false, "off": false}

// openQuote returns the first entry of a list whose closing quote is missing, as in
// ["a, "b], "" if there is none.
func openQuote(list string) string {
	for entry := range strings.SplitSeq(strings.Trim(list, "[] "), ",") {
		if bare, ok := strings.CutPrefix(strings.TrimSpace(entry), `"`); ok && isHarmless(bare) {
			return bare
		}
	}
	return ""
}

// cutKey cuts a line at its "=". The key is a bare one.
func cutKey(text string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(cutComment(text), "=")
	key = strings.TrimSpace(key)
	return key, strings.TrimSpace(value), ok && isBareKey(key)
}

func cutComment(text string) string {
	before, _, _ := strings.Cut(text, " #")
	return strings.TrimSpace(before)
}

// remedy says how to write a line of a key and a value, with quotes. It repeats
// the value only if it is not a secret.
func remedy(text string) string {
	key, value, ok := cutKey(text)
	if !ok {
		return "; write \"…\""
	}
	inner, list := strings.CutPrefix(value, "[")
	var quoted []string
	for entry := range strings.SplitSeq(strings.TrimSuffix(inner, "]"), ",") {
		entry = strings.Trim(entry, ` "'`)
		if entry == "" && list && len(quoted) > 0 {
			continue // behind the last comma
		}
		if !isQuotable(key) || !isHarmless(entry) {
			entry = "…"
		}
		quoted = append(quoted, `"`+entry+`"`)
	}
	value = strings.Join(quoted, ", ")
	if list {
		value = "[" + value + "]"
	}
	return fmt.Sprintf("; write %s = %s", key, value)
}

// isQuotable reports whether the value of a key may be repeated in a message: it
// names a host, a path or a choice, and is never a secret.
func isQuotable(key string) bool {
	switch key {
	case "source", "targets", "credential", "kind", "path", "config", "ca", "command", "hosts_dir", "config_path",
		"address", "version", "bin_dir", "match", "match_images", "plugin", "capabilities", "dial_timeout":
		return true
	}
	return false
}

// isHarmless reports whether s has only characters of hosts and paths.
func isHarmless(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:/*") == ""
}
