package mirror

import "bytes"

// mostNesting is how deep brackets may be nested in a map, and how many dots a key
// may have. The map needs four of each. What reads a document takes time and memory
// by the square of its depth, and who writes a map in the cluster may want to stop the
// reader.
const mostNesting = 16

// tooDeep returns the first line that is nested deeper than a map may be, 0 for none.
// It tells strings and comments apart as far as a document is TOML; what comes after
// a fault of syntax is not read.
func tooDeep(data []byte) int {
	depth, dots := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '#':
			i += lineLength(data[i:]) - 1
		case '"', '\'':
			i += stringLength(data[i:]) - 1
		case '[', '{':
			depth, dots = depth+1, 0
		case ']', '}':
			depth = max(0, depth-1)
		case '.':
			dots++
		case '\n', '=', ',':
			dots = 0
		}
		if depth > mostNesting || dots > mostNesting {
			return 1 + bytes.Count(data[:i], []byte("\n"))
		}
	}
	return 0
}

// lineLength returns the length of the line that data begins with.
func lineLength(data []byte) int {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i
	}
	return len(data)
}

// stringLength returns the length of the string that data begins with, quotes
// included.
func stringLength(data []byte) int {
	quote := data[:1]
	isLong := len(data) > 2 && data[1] == quote[0] && data[2] == quote[0]
	i := 1
	if isLong {
		quote, i = data[:3], 3
	}
	for i < len(data) {
		switch c := data[i]; {
		case c == '\\' && quote[0] == '"':
			i += 2
		case c == quote[0] && bytes.HasPrefix(data[i:], quote):
			i += len(quote)
			for more := 0; isLong && more < 2 && i < len(data) && data[i] == quote[0]; more++ {
				i++ // the string ends with quotes of its own
			}
			return i
		case c == '\n' && !isLong:
			return i
		default:
			i++
		}
	}
	return len(data)
}
