package mirror

import (
	"strconv"
	"strings"
)

func (p *parser) containerd(t *table) {
	p.m.Containerd = Containerd{HostsDir: DefaultHostsDir, Config: DefaultContainerdConfig, Address: DefaultAddress}
	if t == nil {
		return
	}
	r := p.reader(t, "[containerd]")
	p.m.Containerd = Containerd{
		HostsDir:   r.path("hosts_dir", DefaultHostsDir),
		Config:     r.path("config", DefaultContainerdConfig),
		Address:    r.path("address", DefaultAddress),
		ConfigPath: r.text("config_path"),
		Version:    r.text("version"),
	}
	if v := p.m.Containerd.Version; v != "" && !isVersion(v) {
		p.add(r.at("version"), "version %q of [containerd] is none; write it such as \"2.2\", or leave it out for a tree that each of 1.7 to 2.4 reads", v)
	}
	r.rest(nil)
}

// isVersion reports whether s begins with MAJOR.MINOR.
func isVersion(s string) bool {
	major, rest, ok := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	_, err := strconv.Atoi(major)
	_, err2 := strconv.Atoi(minor)
	return ok && err == nil && err2 == nil
}

func (p *parser) kubelet(t *table) {
	p.m.Kubelet = Kubelet{Config: DefaultKubeletConfig, BinDir: DefaultBinDir}
	if t == nil {
		return
	}
	r := p.reader(t, "[kubelet]")
	k := Kubelet{
		Config:  r.path("config", DefaultKubeletConfig),
		BinDir:  r.path("bin_dir", DefaultBinDir),
		Version: r.text("version"),
	}
	if k.Version != "" && !isVersion(k.Version) {
		p.add(r.at("version"), "version %q of [kubelet] is none; write it such as \"1.34\", or leave it out and the kubelet that runs is asked", k.Version)
	}
	k.AuditLog = r.text("audit_log")
	socket, _ := strings.CutPrefix(k.AuditLog, "unixgram:")
	if k.AuditLog != "" && k.AuditLog != "journald" && k.AuditLog != "none" && !strings.HasPrefix(socket, "/") {
		p.add(r.at("audit_log"), "audit_log %q of [kubelet] is not an absolute path; write one, or \"unixgram:/PATH\" for a datagram socket, \"journald\" for the journal, \"none\" for no log", k.AuditLog)
	}
	for _, v := range r.texts("match_images", false) {
		if err := checkPattern(v.text); err != nil {
			p.add(v.line, "match_images: pattern %q: %v", v.text, err)
			continue
		}
		k.MatchImages = append(k.MatchImages, v.text)
	}
	switch match := r.text("match"); match {
	case "", "sources":
	case "any":
		k.MatchAny = true
	default:
		p.add(r.at("match"), "match %q is unknown; write \"sources\" or \"any\"", match)
	}
	switch plugin := r.text("plugin"); plugin {
	case "", "mirror-credential-provider":
	case Stock:
		k.Stock, p.pluginLine = true, r.at("plugin")
	default:
		p.add(r.at("plugin"), "plugin %q is unknown; leave the key out, or write %q", plugin, Stock)
	}
	if k.Stock && k.MatchAny {
		p.add(r.at("match"), "match \"any\": %s gives the node's token to any host that has azurecr.io in its name, and the patterns alone keep it from that; write \"sources\", or %s", Stock, ours)
	}
	if k.Stock && k.AuditLog != "" {
		p.add(r.at("audit_log"), "audit_log %q: %s writes its runs down nowhere; leave it out, or %s", k.AuditLog, Stock, ours)
	}
	r.rest(nil)
	p.m.Kubelet = k
}
