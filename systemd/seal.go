package systemd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// mark begins the first line of each installed file; the hash of the rest follows. It
// distinguishes an edited file from one that an earlier version installed.
const mark = "# Installed by mirrorcred, which replaces it unless it was edited; change it with a drop-in. sha256:"

// seal puts the mark in front of a file.
func seal(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return []byte(mark + hex.EncodeToString(sum[:]) + "\n" + text)
}

// Edited reports whether a file differs from what any version of mirrorcred
// installed: it was edited, or another program wrote it.
func Edited(data []byte) bool {
	line, body, _ := bytes.Cut(data, []byte("\n"))
	sum := sha256.Sum256(body)
	return string(line) != mark+hex.EncodeToString(sum[:])
}
