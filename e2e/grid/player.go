package grid

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A player plays cases with the puller of one version.
type player struct {
	version string
	puller  *Puller
	world   *world
	certs   *certificates
	dir     string // of hosts.toml files
}

// startPlayer starts the puller in a directory that build.Puller returned.
func startPlayer(version, program, scratch string) (*player, error) {
	certs, err := newCertificates(scratch)
	if err != nil {
		return nil, err
	}
	w, err := newWorld(certs)
	if err != nil {
		return nil, err
	}
	puller, err := StartPuller(program, certs.file)
	if err != nil {
		w.stop()
		return nil, err
	}
	return &player{version, puller, w, certs, filepath.Join(scratch, "certs.d")}, nil
}

func (p *player) stop() {
	p.puller.Stop()
	p.world.stop()
}

// play plays one case, with the hosts.toml that its map makes.
func (p *player) play(c Case) (Outcome, error) {
	if err := p.writeMap(p.mapOf(c), map[string]string{names[Mirror]: c.Kind.header()}); err != nil {
		return Outcome{}, err
	}
	return p.pull(c.Client.Transfer, c.Login, p.world.parties(c))
}

// pull pulls the image while the parties do their parts.
func (p *player) pull(transfer bool, login Login, play map[Party]http.HandlerFunc) (Outcome, error) {
	one := pull{HostsDir: p.dir, Image: p.world.host(Source) + "/" + repository + ":1", Transfer: transfer}
	if s := login.secret(); s != "" {
		one.Username, one.Password = username, s.text()
	}
	p.world.begin(play)
	failed, err := p.puller.Pull(one)
	out := p.world.end()
	switch {
	case err != nil:
		return out, err
	case failed != nil && out.From != "":
		return out, fmt.Errorf("%s, and the pull failed: %w", out, failed)
	case failed == nil && out.From == "":
		return out, errors.New("the pull succeeded, and no registry gave the image")
	}
	return out, nil
}

// mapOf returns the map of a case.
func (p *player) mapOf(c Case) string {
	target := p.world.host(Mirror)
	if c.State == Down {
		target = names[Mirror] + ":" + p.world.closed
	}
	targets := fmt.Sprintf("%q", target)
	if c.Behind != Nothing {
		targets += fmt.Sprintf(", %q", p.world.host(Source))
	}
	return fmt.Sprintf(`version = 1
[[mirror]]
source = %q
targets = [%s]
[registry.%q]
ca = %q
%s`, p.world.host(Source), targets, target, p.certs.file, delivered)
}

// delivered puts a registry's credential into hosts.toml.
const delivered = "credential = \"login\"\ndeliver = \"hosts\"\n"

// writeMap writes the hosts.toml files of a map, as mirrorcred renders them for
// the player's version. values are those of the headers: the delivered ones by the
// registry's name, others by the file that the map names.
func (p *player) writeMap(text string, values map[string]string) error {
	text += "[credential.login]\nkind = \"docker-config\"\npath = \"/login.json\"\n"
	m, err := mirror.Parse("mirrors.toml", []byte(text))
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	version, err := hosts.ParseVersion(p.version)
	if err != nil {
		return err
	}
	secrets := maps.Clone(values)
	for _, one := range m.Mirrors {
		for _, target := range one.Targets {
			if key, ok := target.Delivery(); ok {
				name, _, _ := strings.Cut(target.Host().String(), ":")
				secrets[key] = values[name]
			}
		}
	}
	files, err := hosts.Render(m, hosts.Options{Version: version, Secrets: secrets})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	for _, f := range files {
		if err := p.write(f.Namespace, f.Data); err != nil {
			return err
		}
	}
	return nil
}

// write writes the hosts.toml of a namespace.
func (p *player) write(namespace string, data []byte) error {
	dir := filepath.Join(p.dir, namespace)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, hosts.FileName), data, 0o600)
}
