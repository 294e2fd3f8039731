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
		case name == "anonymous":
			p.add(v.line, "credential \"anonymous\" stands for none; choose another name")
		case !isName(name):
			p.add(v.line, "credential %q: a name has letters, digits, \".\", \"_\" and \"-\"", name)
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
		r.execPods(&c)
	case PodToken:
		r.podToken(&c)
	default:
		if t.find("kind") == nil {
			p.add(t.line, "[credential.%s] has no kind; the kinds are %s", name, kinds)
		} else if c.Kind != "" {
			p.add(r.at("kind"), "kind %q of [credential.%s] is unknown; the kinds are %s", c.Kind, name, kinds)
		}
		return c // the keys of an unknown kind are unknown too
	}
	if name == azureCredential && c.Kind != Azure {
		p.add(r.at("kind"), "[credential.azure] is what ACR hosts use unless the map says otherwise; give a credential of kind %q another name", c.Kind)
	}
	r.rest(map[string]string{
		"password": "the map holds no secrets; write a docker config.json and name its path with kind = \"docker-config\"",
		"username": "the map holds no secrets; write a docker config.json and name its path with kind = \"docker-config\"",
	})
	return c
}

// required is path for a key that has to be there.
func (r *reader) required(key, what string) string {
	if r.find(key) == nil {
		r.add(r.line, "%s has no %s; write %s", r.what, key, what)
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
			r.add(vars.at(name), "%q is no name of an environment variable", name)
			continue
		}
		if v := vars.get(name); vars.want(name, v, unstable.String) {
			list = append(list, name+"="+v.text)
		}
	}
	return list
}
