package mirror

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

func (p *parser) credentials(t *table) {
	if t == nil {
		return
	}
	for _, name := range t.keys {
		v := t.find(name)
		switch {
		case name == Anonymous:
			p.add(v.line, "\"anonymous\" means no credential; choose another name")
		case !isName(name):
			p.add(v.line, "credential %q: a name consists of letters, digits, \".\", \"_\" and \"-\"; choose another name", name)
			p.m.Credentials = append(p.m.Credentials, Credential{Name: name}) // what names it is right
		case v.kind != unstable.InlineTable:
			p.add(v.line, "credential %q is not a table; write [credential.%s]", name, name)
		default:
			p.m.Credentials = append(p.m.Credentials, p.credential(name, v.table))
			p.credentialLines[name] = v.line
		}
	}
}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

func (p *parser) credential(name string, t *table) Credential {
	r := p.reader(t, fmt.Sprintf("[credential.%s]", name))
	c := Credential{Name: name, Kind: Kind(r.text("kind"))}
	if name == azureCredential && t.find("kind") == nil {
		c.Kind = Azure
	}
	switch c.Kind {
	case Azure:
		c.File = r.path("config", DefaultAzureConfig)
		r.azurePods(&c)
	case DockerConfig:
		c.File = r.required("path", "the docker config.json, such as \"/etc/mirrorcred/"+name+".json\"")
	case Exec:
		c.Command = r.required("command", "the absolute path of a kubelet credential provider")
		c.Args = texts(r.texts("args", false))
		c.Env = r.env()
		c.Closed = p.closed && len(c.Args)+len(c.Env) > 0
		r.execPods(&c)
	case PodToken:
		r.podToken(&c)
	case PullSecret:
		r.pullSecret(&c)
	default:
		if t.find("kind") == nil {
			p.add(t.line, "[credential.%s] has no kind; %s", name, likelyKind(t))
		} else if t.find("password") != nil {
			p.add(t.find("password").line, "the map holds no secrets; write the password of [credential.%s] into a docker config.json, and its path with kind = \"docker-config\"", name)
		} else if near := nearest(string(c.Kind), kindList); near != "" {
			p.add(r.at("kind"), "unknown kind %q in [credential.%s]; did you mean %q?", c.Kind, name, near)
		} else if c.Kind != "" {
			p.add(r.at("kind"), "unknown kind %q in [credential.%s]; the kinds are %s", c.Kind, name, kinds)
		}
		return c // the keys of an unknown kind are unknown too
	}
	if name == azureCredential && c.Kind != Azure {
		p.add(r.at("kind"), "[credential.azure] is the default of ACR hosts and must be of kind \"azure\"; give the credential of kind %q another name", c.Kind)
	}
	r.rest(map[string]string{
		"password": "the map holds no secrets; write a docker config.json and name its path with kind = \"docker-config\"",
		"username": "the map holds no secrets; write a docker config.json and name its path with kind = \"docker-config\"",
	})
	return c
}

// likelyKind says which kind to write for a credential without one: it goes by
// the keys that the credential has.
func likelyKind(t *table) string {
	for _, of := range []struct {
		key  string
		kind Kind
	}{{"path", DockerConfig}, {"command", Exec}, {"config", Azure}, {"username", PodToken}, {"kubeconfig", PullSecret}} {
		if t.find(of.key) != nil {
			return fmt.Sprintf("write kind = %q", of.kind)
		}
	}
	return "the kinds are " + kinds
}

// required is [reader.path] for a key that must be there.
func (r *reader) required(key, what string) string {
	if r.find(key) == nil {
		r.need(key, "%s has no %s; write %s", r.what, key, what)
	}
	return r.path(key, "")
}

// env reads a table of environment variables.
func (r *reader) env() []string {
	t := r.sub("env")
	if t == nil {
		return nil
	}
	vars := r.faults.reader(t, "env of "+r.what)
	var list []string
	for _, name := range t.keys {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			r.add(vars.at(name), "%q cannot be the name of an environment variable", name)
			continue
		}
		if v := vars.get(name); vars.want(name, v, unstable.String) {
			list = append(list, name+"="+v.text)
		}
	}
	return list
}
