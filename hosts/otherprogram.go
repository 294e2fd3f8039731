package hosts

import "bytes"

// IsGeneratedByOther reports whether a comment at the top of a file says that another program
// generates it, as k3s does: it would write the file again.
func IsGeneratedByOther(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.ToLower(bytes.TrimSpace(line))
		if len(line) > 0 && line[0] != '#' {
			return false
		}
		if bytes.Contains(line, []byte("generated")) && bytes.Contains(line, []byte("do not edit")) {
			return true
		}
	}
	return false
}
