package containerdconfig

import "bytes"

// newerTOML returns the offset of the first thing in a valid document that only
// TOML 1.1 allows, or -1: a line break or a last comma in an inline table, the
// escape \x, a time without seconds. containerd 2.0 to 2.3 read TOML 1.0
// (go-toml up to 2.3.0), and 2.4 reads 1.1.
func newerTOML(data []byte) int {
	var open []byte // the brackets around data[i]
	for i := 0; i < len(data); i++ {
		inline := len(open) > 0 && open[len(open)-1] == '{'
		switch data[i] {
		case '#':
			if end := bytes.IndexByte(data[i:], '\n'); end > 0 {
				i += end - 1
			} else {
				return -1
			}
		case '"', '\'':
			length, escape := quoted(data[i:])
			if escape >= 0 {
				return i + escape
			}
			i += length - 1
		case '[', '{':
			open = append(open, data[i])
		case ']', '}':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case '\n':
			if inline {
				return i
			}
		case ',':
			if next := bytes.TrimLeft(data[i+1:], " \t"); inline && len(next) > 0 && next[0] == '}' {
				return i
			}
		case ':':
			if isShortTime(data, i) {
				return i
			}
		}
	}
	return -1
}

// quoted returns the length of the string that data begins with, and the offset
// of its first escape of TOML 1.1, or -1.
func quoted(data []byte) (length, escape int) {
	quote := data[:1]
	if triple := bytes.Repeat(quote, 3); bytes.HasPrefix(data, triple) {
		quote = triple
	}
	for i := len(quote); i < len(data); i++ {
		switch {
		case data[i] == '\\' && quote[0] == '"':
			if i++; i < len(data) && data[i] == 'x' {
				return 0, i - 1
			}
		case bytes.HasPrefix(data[i:], quote):
			end := i + len(quote)
			for len(quote) == 3 && end < len(data) && data[end] == quote[0] { // a quote before the last three
				end++
			}
			return end, -1
		}
	}
	return len(data), -1
}

// isShortTime reports whether the colon at i is that of a time without seconds,
// rather than one of HH:MM:SS or of an offset.
func isShortTime(data []byte, i int) bool {
	isDigits := func(from int) bool {
		return from >= 0 && from+2 <= len(data) && '0' <= data[from] && data[from] <= '9' && '0' <= data[from+1] && data[from+1] <= '9'
	}
	before, after := byte(' '), byte(' ')
	if i >= 3 {
		before = data[i-3]
	}
	if i+3 < len(data) {
		after = data[i+3]
	}
	return isDigits(i-2) && isDigits(i+1) && after != ':' && before != ':' && before != '+' && before != '-'
}
