package bootstrap

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// noFiles is a node without files; an overlay over it has those of a test.
type noFiles struct{}

func (noFiles) ReadFile(name string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
func (noFiles) Glob(string) ([]string, error) { return nil, nil }

// TestEditKeepsOtherSettings holds that an edit is not taken which sets config_path and loses
// another setting. Here the old table, which the main file has, would take the place
// of the whole new one, with the headers in it.
func TestEditKeepsOtherSettings(t *testing.T) {
	version, err := containerdconfig.ParseVersion("2.0")
	if err != nil {
		t.Fatal(err)
	}
	s := configSeen{
		main: "/etc/containerd/config.toml", dir: "/etc/containerd/certs.d", versions: []containerdconfig.Version{version},
		files: unitfile.Overlay{Files: noFiles{}, Over: map[string][]byte{
			"/etc/containerd/config.toml":         []byte("version = 2\nimports = [\"conf.d/*.toml\"]\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"pause:3.10\"\n"),
			"/etc/containerd/conf.d/headers.toml": []byte("version = 2\n[plugins.\"io.containerd.cri.v1.images\".registry.headers]\nX-Site = [\"a\"]\n"),
		}},
	}
	edits, refusal := s.plan()
	if refusal != nil || len(edits) != 1 || !strings.Contains(string(edits[0].data), imagesPlugin) {
		t.Errorf("the edits are %+v, %v; want one of the new table", edits, refusal)
	}
}
