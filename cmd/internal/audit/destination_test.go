//go:build linux

package audit

import (
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFullSocket checks that the log does not wait for a reader that does not read.
func TestFullSocket(t *testing.T) {
	root := t.TempDir()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(root, "full"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	to, err := ParseDestination("unixgram:/full")
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = to.Append(root, event("x"))
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a full socket is %v; want %v", err, syscall.EAGAIN)
	}
}

func TestParseDestination(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "/x": true, "journald": true, "unixgram:/x": true,
		"x": false, "journald:": false, "journal": false, "unixgram:": false, "unixgram:x": false, "unix:/x": false,
	} {
		if _, err := ParseDestination(text); (err == nil) != ok {
			t.Errorf("ParseDestination(%q) = %v", text, err)
		}
	}
}
