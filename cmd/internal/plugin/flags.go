package plugin

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure"
)

// Version is the version that --version prints. The build sets it.
var Version = "development"

const usage = `Usage: mirror-credential-provider [FLAGS] [AZURE_JSON]

The kubelet executes this program for an image and reads a credential from its
standard output. It stands in for acr-credential-provider, with the same
argument and flags, and answers for the sources of a mirror map as well.

  AZURE_JSON                     path of azure.json; needed unless the routes
                                 say everything
  -r, --registry-mirror VALUE    @DIR: answer by the routes in DIR, which
                                 "mirrorcred apply" writes; or a list
                                 source:target,source:target
      --credential NAME          answer, of the routes, only what [credential.NAME]
                                 gets with the pod's token; without this flag,
                                 only what needs none
      --audience AUDIENCE        whom that token is for; needed with --credential
      --timeout DURATION         give up after this time (default 45s; the
                                 kubelet kills a plugin after 60s)
      --token-cache DIR          keep tokens in DIR from run to run, if the
                                 routes answer; "" for none (default
                                 /run/mirrorcred/tokens)
      --audit-log FILE           add a line of JSON for each run to FILE, which
                                 "mirrorcred events" prints (default
                                 /var/log/mirrorcred/plugin.jsonl); send it to
                                 the journal with "journald", to a datagram
                                 socket with "unixgram:/PATH"; "" for none
      --root DIR                 take all paths as below DIR
      --ib-sni-name NAME         use AKS identity bindings: a pod's token is
                                 given to the API server under this name
      --ib-apiserver-ip HOST     IP address or host name of the API server
      --ib-default-client-id ID, --ib-default-tenant-id ID
                                 for pods whose service account has no
                                 annotation for them
      --ib-ca FILE               the API server's CA (default
                                 /etc/kubernetes/certs/ca.crt)
  -h, --help                     print this text
      --version                  print the version

Accepted as acr-credential-provider accepts them, without effect:
  -v, --v LEVEL   --vmodule LIST   --log-flush-frequency DURATION

Example, as the kubelet runs it:
  echo '{"kind":"CredentialProviderRequest",
         "apiVersion":"credentialprovider.kubelet.k8s.io/v1",
         "image":"mcr.microsoft.com/oss/kubernetes/pause"}' |
    mirror-credential-provider --registry-mirror=@/var/lib/mirrorcred/routes
`

// hasRoutes says whether a manager writes routes on this system.
const hasRoutes = runtime.GOOS == "linux"

// defaultCache returns where tokens are kept unless a flag says otherwise: nowhere
// without routes, which alone use the cache.
func defaultCache() string {
	if !hasRoutes {
		return ""
	}
	return "/run/mirrorcred/tokens"
}

// options are the flags and arguments of one run.
type options struct {
	azureJSON string
	mirrors   string // the list of --registry-mirror, "" if it is @DIR
	routes    string // the directory of --registry-mirror=@DIR, or ""
	// credential and audience say what a provider with pod tokens is for; "" for
	// one without.
	credential, audience string
	root                 string
	timeout              time.Duration
	tokenCache           string // a path, or ""
	auditLog             audit.Destination
	bindings             bindings
	binding              *azure.Binding // nil if there is none
	done                 bool           // help or version was printed
}

// bindings are the flags of AKS identity bindings.
type bindings struct{ sni, clientID, tenantID, apiserver, ca string }

// A commandLine is what flags say before they are judged.
type commandLine struct {
	options
	mirrorList, auditFile string // of --registry-mirror and --audit-log, as written
	version, help         bool
}

// flags returns the flags that set l.
func (l *commandLine) flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("mirror-credential-provider", pflag.ContinueOnError)
	flags.Usage = func() {}
	flags.SetOutput(io.Discard)
	flags.StringVarP(&l.mirrorList, "registry-mirror", "r", "", "")
	flags.StringVar(&l.credential, "credential", "", "")
	flags.StringVar(&l.audience, "audience", "", "")
	flags.StringVar(&l.root, "root", "", "")
	flags.StringVar(&l.tokenCache, "token-cache", defaultCache(), "")
	flags.StringVar(&l.auditFile, "audit-log", audit.DefaultFile, "")
	flags.DurationVar(&l.timeout, "timeout", 45*time.Second, "")
	flags.StringVar(&l.bindings.sni, "ib-sni-name", "", "")
	flags.StringVar(&l.bindings.clientID, "ib-default-client-id", "", "")
	flags.StringVar(&l.bindings.tenantID, "ib-default-tenant-id", "", "")
	flags.StringVar(&l.bindings.apiserver, "ib-apiserver-ip", "", "")
	flags.StringVar(&l.bindings.ca, "ib-ca", "/etc/kubernetes/certs/ca.crt", "")
	flags.BoolVar(&l.version, "version", false, "")
	flags.BoolVarP(&l.help, "help", "h", false, "")
	// Those of acr-credential-provider that have no effect here.
	flags.StringP("v", "v", "0", "")
	flags.String("vmodule", "", "")
	flags.Duration("log-flush-frequency", 5*time.Second, "")
	return flags
}

// parseFlags parses the arguments. azure.json may come before, between or after
// the flags; AKS puts it first.
func parseFlags(args []string, stdout io.Writer) (options, error) {
	var l commandLine
	flags := l.flags()
	if err := flags.Parse(args); err != nil {
		return options{}, fmt.Errorf("%w; run it with --help for the flags", err)
	}
	var err error
	switch {
	case l.help:
		_, err = io.WriteString(stdout, usage)
		return options{done: true}, err
	case l.version:
		_, err = fmt.Fprintf(stdout, "mirror-credential-provider version %s\n", Version)
		return options{done: true}, err
	}
	o := l.options
	if err := o.setMirrors(l.mirrorList); err != nil {
		return options{}, err
	}
	if err := o.setRoot(); err != nil {
		return options{}, err
	}
	if o.auditLog, err = audit.ParseDestination(l.auditFile); err != nil {
		return options{}, fmt.Errorf("--audit-log=%q: %w", l.auditFile, err)
	}
	return o, o.check(flags.Args())
}

// setMirrors takes the value of --registry-mirror: a list, or @DIR.
func (o *options) setMirrors(value string) error {
	dir, isDir := strings.CutPrefix(value, "@")
	switch {
	case !isDir:
		o.mirrors = value
	case !hasRoutes:
		return fmt.Errorf("--registry-mirror=%q: the manager that writes routes runs on Linux only; write a list source:target,source:target", value)
	case !filepath.IsAbs(dir):
		return fmt.Errorf("--registry-mirror=%q: the directory of routes is not an absolute path; write @/var/lib/mirrorcred/routes", value)
	default:
		o.routes = dir
	}
	return nil
}

// setRoot makes the root an absolute path: the program of an exec credential has one,
// and may run elsewhere.
func (o *options) setRoot() (err error) {
	if o.root == "" {
		return nil
	}
	if !hasRoutes {
		return errors.New("--root is for Linux only, because links cannot be kept inside a directory elsewhere; leave it out")
	}
	if o.root, err = filepath.Abs(o.root); err != nil {
		return fmt.Errorf("--root: %w; write an absolute path", err)
	}
	return nil
}

// check judges the flags together, and the arguments beside them.
func (o *options) check(rest []string) error {
	switch {
	case o.tokenCache != "" && !filepath.IsAbs(o.tokenCache):
		return fmt.Errorf("--token-cache=%q is not an absolute path; write one, or \"\" for no cache", o.tokenCache)
	case len(rest) > 1:
		return fmt.Errorf("%d arguments besides the flags; give the path of one azure.json", len(rest))
	case len(rest) == 1:
		o.azureJSON = rest[0]
	case o.routes == "":
		return errors.New("no azure.json is named; give its path as the argument, or --registry-mirror=@/var/lib/mirrorcred/routes")
	}
	switch {
	case o.credential != "" && o.routes == "":
		return errors.New("--credential goes with --registry-mirror=@DIR; write both, or neither")
	case (o.credential == "") != (o.audience == ""):
		return errors.New("--credential and --audience go together; write both, or neither")
	}
	if o.timeout <= 0 || o.timeout > 59*time.Second {
		return fmt.Errorf("--timeout=%s: write a time from 1ms to 59s; the kubelet kills a plugin after 60s", o.timeout)
	}
	var err error
	o.binding, err = o.bindings.parse()
	return err
}

// parse rejects what acr-credential-provider rejects.
func (b bindings) parse() (*azure.Binding, error) {
	switch {
	case b.sni == "" && b.clientID != "":
		return nil, errors.New("--ib-default-client-id needs --ib-sni-name")
	case b.sni == "" && b.tenantID != "":
		return nil, errors.New("--ib-default-tenant-id needs --ib-sni-name")
	case b.sni == "" && b.apiserver != "":
		return nil, errors.New("--ib-apiserver-ip needs --ib-sni-name")
	case b.sni == "":
		return nil, nil
	case strings.HasPrefix(b.sni, "http://"), strings.HasPrefix(b.sni, "https://"):
		return nil, errors.New("--ib-sni-name is a host name; leave out the scheme")
	case b.apiserver == "":
		return nil, errors.New("--ib-sni-name needs --ib-apiserver-ip")
	}
	at, err := azure.ParseBinding(b.sni, b.apiserver, b.ca)
	if err != nil {
		return nil, fmt.Errorf("--ib-sni-name, --ib-apiserver-ip: %w", err)
	}
	return at, nil
}
