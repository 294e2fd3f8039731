package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/e2e/node"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile/unitfiletest"
)

// TestSystemdReadsLines has the systemd of this machine start a program by each of
// the lines that package unitfile is tested with, as they are and with the kubelet's
// flags added. The program gets what unitfile says.
func TestSystemdReadsLines(t *testing.T) {
	freshNode(t)
	const dir = "/run/lines"
	write(t, dir+"/argv", "#!/bin/sh\nout=$1\nshift\nfor a in \"$@\"; do printf '%s\\0' \"$a\"; done > $out\n")
	check(t, os.Chmod(dir+"/argv", 0o755))
	flags := []string{"--image-credential-provider-config=/v/c.yaml", "--image-credential-provider-bin-dir=/v/b"}
	var units []string
	add := func(name string, file []byte, words string) {
		write(t, filepath.Join(dir, name+".env"), string(file))
		check(t, node.WriteUnit(name+".service", fmt.Sprintf("[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nEnvironmentFile=%s/%s.env\nExecStart=%s/argv %s/%s.out %s\n", dir, name, dir, dir, name, words)))
		units = append(units, name)
	}
	systemd, err := node.StartSystemd(t.Context())
	check(t, err)
	t.Cleanup(systemd.Stop)
	for i, l := range unitfiletest.Lines {
		add(fmt.Sprintf("line-%d", i), []byte(l.File), l.Words)
		have, _ := unitfile.Words([]byte(l.File), "A")
		if changed, err := unitfile.SetWords([]byte(l.File), "A", slices.Concat(have, flags)); err == nil {
			add(fmt.Sprintf("changed-%d", i), changed, l.Words)
		}
	}
	_, err = systemd.Control(t.Context(), "daemon-reload")
	check(t, err)
	for _, name := range units {
		if _, err := systemd.Control(t.Context(), "start", name+".service"); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := os.ReadFile(filepath.Join(dir, name+".out"))
		check(t, err)
		command, err := unitfile.ReadCommand(machine{}, name+".service")
		check(t, err)
		got := strings.Split(strings.TrimSuffix(string(bytes.TrimSuffix(out, []byte{0})), "\x00"), "\x00")
		if len(out) == 0 {
			got = nil
		}
		if want := command.Argv[2:]; !slices.Equal(got, want) {
			text, _ := os.ReadFile(filepath.Join(dir, name+".env"))
			t.Errorf("%s, %q: systemd makes %q; unitfile says %q", name, text, got, want)
		}
	}
	if len(units) < 65 {
		t.Errorf("only %d lines were tried", len(units))
	}
}

// machine is the files of this machine.
type machine struct{}

func (machine) ReadFile(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil, fs.ErrNotExist
	}
	return data, err
}

func (machine) Glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }
