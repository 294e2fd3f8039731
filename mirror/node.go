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
	if first, _, list := strings.Cut(p.m.Containerd.HostsDir, ":"); list {
		p.add(r.at("hosts_dir"), "hosts_dir %q of [containerd]: in config_path a colon separates two directories, so containerd would not read this one; write one directory, such as %q, there and here", p.m.Containerd.HostsDir, first)
	}
	if v := p.m.Containerd.Version; v != "" && !isVersion(v) {
		p.add(r.at("version"), "version %q of [containerd] is not a containerd version; write it like \"2.2\", or leave it out to render files that 1.7 to 2.4 all read", v)
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
	k.Named = r.find("config") != nil || r.find("bin_dir") != nil
	if k.Version != "" {
		k.VersionLine = r.at("version")
	}
	if k.Version != "" && !isVersion(k.Version) {
		p.add(k.VersionLine, "version %q of [kubelet] is not a kubelet version; write it like \"1.34\", or leave it out to ask the running kubelet", k.Version)
	}
	k.AuditLog = r.text("audit_log")
	socket, _ := strings.CutPrefix(k.AuditLog, "unixgram:")
	if k.AuditLog != "" && k.AuditLog != "journald" && k.AuditLog != "none" && !strings.HasPrefix(socket, "/") {
		p.add(r.at("audit_log"), "audit_log %q of [kubelet] is not an absolute path; write one, or \"unixgram:/PATH\" for a datagram socket, \"journald\" for the journal, \"none\" for no log", k.AuditLog)
	}
	for _, v := range r.texts("match_images", false) {
		pattern, err := ParsePattern(v.text)
		if err != nil {
			p.add(v.line, "match_images: pattern %q: %v", v.text, err)
			continue
		}
		k.MatchImages = append(k.MatchImages, pattern)
	}
	if running := r.flag("running"); r.find("running") != nil {
		k.NotRunning = !running
	}
	switch match := r.text("match"); match {
	case "", "sources":
	case "any":
		k.MatchAny = true
	default:
		p.add(r.at("match"), "unknown match %q in [kubelet]; write \"sources\" or \"any\"", match)
	}
	switch plugin := r.text("plugin"); plugin {
	case "", "mirror-credential-provider":
	case Stock:
		k.Stock, p.pluginLine = true, r.at("plugin")
	default:
		p.add(r.at("plugin"), "unknown plugin %q in [kubelet]; remove the key, or write %q", plugin, Stock)
	}
	if k.Stock && k.MatchAny {
		p.add(r.at("match"), "match \"any\": %s gives the node's token to any host with azurecr.io in its name, unless the patterns prevent it; write \"sources\", or %s", Stock, useOwnPlugin)
	}
	if k.Stock && k.AuditLog != "" {
		p.add(r.at("audit_log"), "audit_log %q: %s has no audit log; remove it, or %s", k.AuditLog, Stock, useOwnPlugin)
	}
	r.rest(nil)
	p.m.Kubelet = k
}
