package mirror

import (
	"fmt"
	"testing"
)

// delivering has a registry whose credential is delivered by hosts.toml.
const delivering = `version = 1
[[mirror]]
source = "docker.io"
targets = ["harbor.corp/hub", "docker.io"]
header = { X-Forwarded-For = "docker.io" }
[registry."harbor.corp"]
credential = "harbor"
deliver = "hosts"
token_host = "auth.corp:443"
[registry."harbor.corp/hub/same"]
credential = "harbor"
deliver = "hosts"
token_host = "auth.corp"
[credential.harbor]
kind = "docker-config"
path = "/h.json"
`

// TestDeliver checks what a delivered credential makes of a target: a secret header of
// its own, no credential from the plugin, and no need for share_credential although the
// source follows it.
func TestDeliver(t *testing.T) {
	m := mustParse(t, delivering)
	mirror := m.Mirrors[0]
	target := mirror.Targets[0]
	c, _ := m.Credential("harbor")
	key, ok := target.Delivery()
	if !ok || key != deliveryKey(target, c) {
		t.Errorf("Delivery() = %q, %t; want %q", key, ok, deliveryKey(target, c))
	}
	want := []Header{{Name: "Authorization", Delivered: key}, {Name: "X-Forwarded-For", Values: []string{"docker.io"}}}
	if got := fmt.Sprint(target.Settings.Header); got != fmt.Sprint(want) {
		t.Errorf("headers %v; want %v", got, want)
	}
	if !target.DeliverHosts || target.TokenHost != "auth.corp" || len(target.Below) > 0 || target.NeedsCredential() || target.CredentialsFor("hub/x") != nil || !mirror.Secret() {
		t.Errorf("target %+v of a mirror that is secret: %t", target, mirror.Secret())
	}
	if names := fmt.Sprint(mirror.CredentialNames()); names != "[harbor]" {
		t.Errorf("credentials %s", names)
	}
	if _, ok := mirror.Targets[1].Delivery(); ok {
		t.Error("the source has the header too")
	}
	if len(m.Notes) > 0 {
		t.Errorf("notes %v", m.Notes)
	}
}

// TestDeliverPrefix checks tables with prefixes: each target has the header of its own
// table, and the registry itself, which is served for its settings, has none.
func TestDeliverPrefix(t *testing.T) {
	m := mustParse(t, `version = 1
[[mirror]]
source = "docker.io"
targets = ["harbor.corp/hub"]
[[mirror]]
source = "quay.io"
targets = ["harbor.corp/quay"]
[registry."harbor.corp/hub"]
credential = "a"
deliver = "hosts"
[registry."harbor.corp/quay"]
credential = "b"
deliver = "hosts"
[credential.a]
kind = "docker-config"
path = "/a.json"
[credential.b]
kind = "docker-config"
path = "/b.json"
`)
	hub, _ := m.Mirrors[0].Targets[0].Delivery()
	quay, _ := m.Mirrors[1].Targets[0].Delivery()
	if hub == "" || quay == "" || hub == quay {
		t.Errorf("keys %q and %q", hub, quay)
	}
	own := m.Mirrors[2].Targets[0]
	if _, ok := own.Delivery(); ok || own.NeedsCredential() {
		t.Errorf("the registry itself is %+v", own)
	}
}

// TestDeliveryKey changes, one at a time, all that a header may depend on: each has a
// key of its own. What it does not depend on leaves the key alone.
func TestDeliveryKey(t *testing.T) {
	target := func(s, tokenHost string) Target {
		t, err := ParseTarget(s)
		if err != nil {
			panic(err)
		}
		t.TokenHost = tokenHost
		return t
	}
	c := Credential{Name: "c", Kind: Exec, Command: "/c", Args: []string{"a"}, Env: []string{"A=b"}}
	with := func(change func(*Credential)) Credential {
		c := c
		change(&c)
		return c
	}
	keys := map[string]string{}
	for name, key := range map[string]string{
		"base":       deliveryKey(target("a.io/x", ""), c),
		"host":       deliveryKey(target("b.io/x", ""), c),
		"port":       deliveryKey(target("a.io:8443/x", ""), c),
		"scheme":     deliveryKey(target("http://a.io/x", ""), c),
		"prefix":     deliveryKey(target("a.io/y", ""), c),
		"path":       deliveryKey(target("https://a.io/x/v2", ""), c),
		"token host": deliveryKey(target("a.io/x", "b.io"), c),
		"name":       deliveryKey(target("a.io/x", ""), with(func(c *Credential) { c.Name = "d" })),
		"kind":       deliveryKey(target("a.io/x", ""), with(func(c *Credential) { c.Kind = DockerConfig })),
		"file":       deliveryKey(target("a.io/x", ""), with(func(c *Credential) { c.File = "/f" })),
		"command":    deliveryKey(target("a.io/x", ""), with(func(c *Credential) { c.Command = "/d" })),
		"arguments":  deliveryKey(target("a.io/x", ""), with(func(c *Credential) { c.Args = []string{"b"} })),
		"variables":  deliveryKey(target("a.io/x", ""), with(func(c *Credential) { c.Env = nil })),
		"token":      deliveryKey(target("a.io/x", ""), with(func(c *Credential) { c.Token = &Token{Audience: "a"} })),
	} {
		if other, twice := keys[key]; twice || len(key) != 32 {
			t.Errorf("%s and %s have the key %q", name, other, key)
		}
		keys[key] = name
	}
	settings := target("a.io/x", "")
	settings.Settings.CA = []string{"/ca"}
	azure := Credential{Name: "azure", Kind: Azure}
	if keys[deliveryKey(settings, c)] != "base" || deliveryKey(target("a.io/x", ""), azure) != deliveryKey(target("a.io/y", ""), azure) {
		t.Error("a key depends on what the header does not depend on")
	}
}
