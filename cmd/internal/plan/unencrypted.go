package plan

import (
	"cmp"
	"fmt"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// unencrypted warns, once for each, of secrets that the map sends to a registry over
// plain http. It warns of registries on the machine itself too: if one is down, any
// user can listen on its port.
func unencrypted(d *Desired) []doctor.Finding {
	var list []doctor.Finding
	warned := map[string]bool{}
	warn := func(t mirror.Target, line int, what string) {
		if key := t.Host().String() + " " + what; !warned[key] {
			warned[key] = true
			list = append(list, secretOverHTTP(d.MapFile, t, line, what))
		}
	}
	for _, m := range d.Map.Mirrors {
		for _, t := range m.Targets {
			if t.Scheme() != "http" {
				continue
			}
			for _, name := range credentialNames(t) {
				warn(t, cmp.Or(t.Line("credential"), m.Line), fmt.Sprintf("the password of credential %q", name))
			}
			for _, h := range t.Settings.Header {
				if h.Secret() {
					warn(t, cmp.Or(t.Line("header"), m.Line), fmt.Sprintf("the header %s", h.Name))
				}
			}
		}
	}
	return list
}

// credentialNames returns the credentials that a target asks for.
func credentialNames(t mirror.Target) []string {
	return mirror.Mirror{Targets: []mirror.Target{t}}.CredentialNames()
}

func secretOverHTTP(mapFile string, t mirror.Target, line int, what string) doctor.Finding {
	return doctor.Finding{
		Name: doctor.SecretOverHTTP, Where: fmt.Sprintf("%s:%d", mapFile, line),
		Text:   fmt.Sprintf("%s goes to %q unencrypted, so anyone on the network can read it", what, "http://"+t.Host().String()),
		Repair: "serve that registry over https",
	}
}
