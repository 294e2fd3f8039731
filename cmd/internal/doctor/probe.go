package doctor

// "mirrorcred check --probe" reports these, of the registries that it asks.
const (
	ProbeCredential      = "probe-credential"
	ProbeUnauthorized    = "probe-unauthorized"
	ProbeAudience        = "probe-audience"
	ProbeForbidden       = "probe-forbidden"
	ProbeNotFound        = "probe-not-found"
	ProbeNeedsCredential = "probe-needs-credential"
	ProbeScope           = "probe-scope"
	ProbeRedirect        = "probe-redirect"
	ProbeRealm           = "probe-realm"
	ProbeTLS             = "probe-tls"
	ProbeDNS             = "probe-dns"
	ProbeRefused         = "probe-refused"
	ProbeTimeout         = "probe-timeout"
	ProbeProxy           = "probe-proxy"
	ProbeClock           = "probe-clock"
	ProbeThrottled       = "probe-throttled"
	ProbeServerError     = "probe-server-error"
	ProbeNotARegistry    = "probe-not-a-registry"
	ProbeLimited         = "probe-limited"
	ProbeSkipped         = "probe-skipped"
)
