package bootstrap

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A block in a file of another program has mirrorcred's lines, and as comments the lines
// that they replace. The rest of the file stays the same, byte for byte.
const (
	blockBegin = `# mirrorcred begin; "mirrorcred bootstrap undo" takes these lines out`
	blockWas   = "# was: "
	blockEnd   = "# mirrorcred end"
)

// partBlock takes the block out of a file.
const partBlock Part = "block"

func init() { parts[partBlock] = cutBlock }

// cutBlock returns a file without mirrorcred's blocks, and with the lines that they
// replaced.
func cutBlock(data []byte) ([]byte, error) {
	var out []byte
	inside, header := false, false
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		isWas := strings.HasPrefix(text, strings.TrimSpace(blockWas))
		switch {
		case text == blockBegin && !inside:
			inside, header = true, false
		case text == blockEnd && inside:
			inside = false
		case inside && isWas:
			_, was, _ := strings.Cut(string(line), blockWas)
			out = append(out, was...)
		case inside:
			header = header || strings.HasPrefix(text, "[")
		default:
			isKey := text != "" && text[0] != '#' && text[0] != '['
			if header && isKey {
				return nil, errors.New("another program has added a key right after mirrorcred's lines, so that it belongs to their table; remove mirrorcred's lines by hand")
			}
			header = header && !strings.HasPrefix(text, "[")
			out = append(out, line...)
		}
	}
	if inside {
		return nil, fmt.Errorf("it has a line %q without the line %q; remove mirrorcred's lines by hand", blockBegin, blockEnd)
	}
	return out, nil
}

// setConfigPath returns a configuration file of containerd's with config_path set
// in the registry table of a plugin: in the place of the line that sets it now,
// else below the header of the table, else in a new table at the end.
func setConfigPath(data []byte, plugin, value string) ([]byte, error) {
	data, err := cutBlock(data)
	if err != nil {
		return nil, err
	}
	at, err := findConfigPath(data, plugin)
	switch {
	case err != nil:
		return nil, err
	case at.key != "":
		return at.replaceLine(data, value)
	case at.header > 0:
		end := lineEnd(data, at.header)
		if end == len(data) && !bytes.HasSuffix(data, []byte("\n")) {
			data = append(slices.Clip(data), '\n')
			end++
		}
		indent := indentOf(data, at.header)
		return slices.Concat(data[:end], block(indent, "", indent+"config_path = "+quoted(value)), data[end:]), nil
	}
	lines := "[plugins." + quoted(plugin) + ".registry]\nconfig_path = " + quoted(value)
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		data = append(slices.Clip(data), '\n')
	}
	return slices.Concat(data, block("", "", lines)), nil
}

// quoted writes a TOML string. Go's escapes do, because those that TOML lacks do not
// occur in a path or in a plugin's name.
func quoted(s string) string { return fmt.Sprintf("%q", s) }

func block(indent, was, lines string) []byte {
	text := indent + blockBegin + "\n"
	if was != "" {
		text += indent + blockWas + was + "\n"
	}
	return []byte(text + lines + "\n" + indent + blockEnd + "\n")
}

// A place is where config_path is in a file, or could be.
type place struct {
	key    string // as it is written; "" if it is not set
	offset int    // of the key
	header int    // offset in the header of the table; 0 if the file has no header of it
}

// errInline says that lines cannot be added to a table as it is written.
var errInline = errors.New("the table is written inline; write it as a table with a header")

// findConfigPath finds config_path of a plugin's registry.
func findConfigPath(data []byte, plugin string) (place, error) {
	var at place
	var p unstable.Parser
	p.Reset(data)
	registry := []string{"plugins", plugin, "registry"}
	wanted := append(slices.Clone(registry), "config_path")
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		keys, first, last := keysOf(e)
		switch e.Kind {
		case unstable.Table:
			if table = keys; slices.Equal(table, registry) {
				at.header = int(first.Offset)
			}
		case unstable.ArrayTable:
			table = keys
		case unstable.KeyValue:
			full := slices.Concat(table, keys)
			if slices.Equal(full, wanted) {
				at.key, at.offset = string(data[first.Offset:last.Offset+last.Length]), int(first.Offset)
			}
			if len(full) < len(wanted) && slices.Equal(full, wanted[:len(full)]) && e.Value().Kind == unstable.InlineTable {
				return at, errInline
			}
		}
	}
	return at, p.Error()
}

func keysOf(e *unstable.Node) (keys []string, first, last unstable.Range) {
	if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable && e.Kind != unstable.KeyValue {
		return nil, first, last
	}
	for it := e.Key(); it.Next(); {
		n := it.Node()
		if keys == nil {
			first = n.Raw
		}
		keys, last = append(keys, string(n.Data)), n.Raw
	}
	return keys, first, last
}

// replaceLine replaces the line that sets config_path by a block.
func (at place) replaceLine(data []byte, value string) ([]byte, error) {
	begin, end := lineBegin(data, at.offset), lineEnd(data, at.offset)
	old := strings.TrimRight(string(data[begin:end]), "\r\n")
	if toml.Unmarshal([]byte(old), &map[string]any{}) != nil {
		return nil, errors.New("config_path is not on a line of its own; put it on one")
	}
	indent := indentOf(data, at.offset)
	lines := indent + at.key + " = " + quoted(value)
	return slices.Concat(data[:begin], block(indent, old, lines), data[end:]), nil
}

func lineBegin(data []byte, at int) int { return bytes.LastIndexByte(data[:at], '\n') + 1 }

// lineEnd returns the offset behind the line's newline.
func lineEnd(data []byte, at int) int {
	if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(data)
}

func indentOf(data []byte, at int) string {
	line := data[lineBegin(data, at):]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}
