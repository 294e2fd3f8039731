package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure/azurejson"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A cloud has the URL of its Entra ID, with a slash at the end, the suffix of its
// registries, and the host of its resource manager.
type cloud struct{ authority, suffix, manager string }

// cloudNamed returns the cloud with a name; case does not matter. An unknown name means
// the public cloud, as in acr-credential-provider
// (kubernetes-sigs/cloud-provider-azure, pkg/azclient/cloud.go).
func cloudNamed(name string) cloud {
	suffix, _ := azurejson.File{Cloud: name}.Suffix()
	switch suffix {
	case "azurecr.cn":
		return cloud{"https://login.chinacloudapi.cn/", suffix, "management.chinacloudapi.cn"}
	case "azurecr.us":
		return cloud{"https://login.microsoftonline.us/", suffix, "management.usgovcloudapi.net"}
	}
	return cloud{"https://login.microsoftonline.com/", suffix, "management.azure.com"}
}

// signIn are the hosts of Entra ID in the public clouds, with all their names: one may
// redirect to another, as China's old name does to its new one
// (github.com/AzureAD/microsoft-authentication-library-for-go,
// apps/internal/oauth/ops/authority/known_metadata.go).
var signIn = [...]string{
	"login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net",
	"login.chinacloudapi.cn", "login.partner.microsoftonline.cn",
	"login.microsoftonline.us", "login.usgovcloudapi.net",
}

// isSignIn reports whether a host is Entra ID in a public cloud, or in one region of it,
// with the region as the first label.
func isSignIn(host string) bool {
	return slices.ContainsFunc(signIn[:], func(name string) bool { return host == name || strings.HasSuffix(host, "."+name) })
}

// adfs reports whether the cloud signs in by Active Directory Federation
// Services, which has no tokens for registries.
func (c cloud) adfs() bool { return strings.HasSuffix(strings.ToLower(c.authority), "/adfs/") }

var errADFS = errors.New("the cloud signs in by AD FS, which is not supported; set useManagedIdentityExtension: true")

// stackCloud is the name of a cloud that a file describes.
const stackCloud = "AzureStackCloud"

// environmentVariable names the file that describes [stackCloud].
const environmentVariable = "AZURE_ENVIRONMENT_FILEPATH"

// custom reports whether the cloud's endpoints must be looked up.
func (c Config) custom() bool {
	return c.manager != "" || strings.EqualFold(c.cloudName, stackCloud)
}

// A lookup remembers the cloud, or that it was not found, so that it is looked up once
// for all registries.
type lookup struct {
	mu    sync.Mutex
	done  bool
	cloud cloud
	err   error
}

// cloud returns the endpoints of the configured cloud. The error is one line.
func (s *Source) cloud(ctx context.Context) (cloud, error) {
	if !s.config.custom() {
		return s.config.cloud, nil
	}
	l := s.lookup
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return l.cloud, l.err
	}
	found, err := s.findCloud(ctx)
	// If the caller gave up, the next call may still find the cloud.
	if ctx.Err() == nil {
		l.done, l.cloud, l.err = true, found, err
	}
	return found, err
}

// findCloud reads the file of the environment first: its author wants it to replace the
// resource manager.
func (s *Source) findCloud(ctx context.Context) (cloud, error) {
	if strings.EqualFold(s.config.cloudName, stackCloud) {
		path := s.opts.EnvironmentFile
		if path == "" {
			path = os.Getenv(environmentVariable)
		}
		switch {
		case path != "":
			return s.readCloud(ctx, path)
		case s.config.manager == "":
			return cloud{}, fmt.Errorf("cloud %q: nothing says where its registries are; set resourceManagerEndpoint, or %s to the file that describes the cloud", s.config.cloudName, environmentVariable)
		}
	}
	return s.keptCloud(ctx)
}

// cloudFor is how long the endpoints of a cloud are cached.
const cloudFor = 24 * time.Hour

// keptCloud returns the cloud from Options.CloudCache, or else from askManager. Nothing
// in it is secret, but it expires like a credential.
func (s *Source) keptCloud(ctx context.Context) (cloud, error) {
	if s.opts.CloudCache == nil {
		return s.askManager(ctx)
	}
	kept, err := s.opts.CloudCache(ctx, func(ctx context.Context) (credential.Credential, error) {
		c, err := s.askManager(ctx)
		return credential.Credential{Username: c.authority, Password: credential.Secret(c.suffix), Expires: time.Now().Add(cloudFor)}, err
	})
	if err != nil {
		return cloud{}, err
	}
	return newCloud(kept.Username, kept.Password.Reveal())
}

// readCloud reads the description of a cloud, in the form of go-autorest
// (github.com/Azure/go-autorest, autorest/azure/environments.go).
func (s *Source) readCloud(ctx context.Context, path string) (cloud, error) {
	data, err := s.opts.ReadFile(ctx, path)
	if err != nil {
		return cloud{}, fmt.Errorf("%s: %w; set it to the file that describes the cloud", environmentVariable, err)
	}
	var said struct {
		Authority string `json:"activeDirectoryEndpoint"`
		Suffix    string `json:"containerRegistryDNSSuffix"`
	}
	if json.Unmarshal(data, &said) != nil {
		return cloud{}, fmt.Errorf("%s: %s is not JSON with the endpoints of a cloud; check its syntax", environmentVariable, path)
	}
	found, err := newCloud(said.Authority, said.Suffix)
	if err != nil {
		return cloud{}, fmt.Errorf("%s: %s: %w; correct activeDirectoryEndpoint and containerRegistryDNSSuffix in it", environmentVariable, path, err)
	}
	return found, nil
}

const resourceManager = "resource manager"

// askManager asks the resource manager of the cloud for its endpoints.
func (s *Source) askManager(ctx context.Context) (cloud, error) {
	u, err := url.Parse(s.config.manager)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return cloud{}, errors.New("resourceManagerEndpoint: this is not the URL of a resource manager; write it as https://HOST/")
	}
	step := startStep(resourceManager, u.Hostname())
	client := s.opts.web()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, s.opts.RequestLimit)
	defer cancel()
	address := u.JoinPath("metadata", "endpoints").String() + "?api-version=2019-05-01"
	resp, err := sender{client, s.opts}.send(ctx, step, request{method: http.MethodGet, url: address})
	switch {
	case err != nil:
		return cloud{}, err
	case resp.status != http.StatusOK:
		return cloud{}, step.status(resp, serverMessage(resp.body), managerRemedy)
	case len(resp.body) > mostAnswer:
		return cloud{}, step.fault("an answer of more than 1 MiB", managerRemedy)
	}
	list, err := decodeEndpoints(resp.body)
	if err != nil {
		return cloud{}, step.fault(err.Error(), managerRemedy)
	}
	one, ok := s.config.choose(list, u.Hostname())
	if !ok {
		return cloud{}, step.fault(fmt.Sprintf("%d clouds, none of which is named %s", len(list), quoted(s.config.cloudName)), "set cloud to the name of one of them")
	}
	found, err := newCloud(one.Authentication.Login, one.Suffixes.Registry)
	if err != nil {
		return cloud{}, step.fault(err.Error(), managerRemedy)
	}
	return found, nil
}

const managerRemedy = "check resourceManagerEndpoint; or set cloud to " + stackCloud + ", and " + environmentVariable + " to a file that describes the cloud"

// endpoints is a resource manager's description of one cloud.
type endpoints struct {
	Name           string `json:"name"`
	Manager        string `json:"resourceManager"`
	Authentication struct {
		Login string `json:"loginEndpoint"`
	} `json:"authentication"`
	Suffixes struct {
		Registry string `json:"acrLoginServer"`
	} `json:"suffixes"`
}

// decodeEndpoints reads a list of clouds, or the single cloud that later versions of the
// API return.
func decodeEndpoints(data []byte) ([]endpoints, error) {
	var list []endpoints
	if json.Unmarshal(data, &list) == nil {
		return list, nil
	}
	var one endpoints
	if json.Unmarshal(data, &one) == nil {
		return []endpoints{one}, nil
	}
	return nil, errors.New("an answer that is not the JSON of a cloud's endpoints")
}

// choose picks the cloud with the configured name, or else the one with the resource
// manager that was asked, or else the only one.
func (c Config) choose(list []endpoints, manager string) (endpoints, bool) {
	for _, one := range list {
		if c.cloudName != "" && strings.EqualFold(one.Name, c.cloudName) {
			return one, true
		}
	}
	for _, one := range list {
		if u, err := url.Parse(one.Manager); err == nil && strings.EqualFold(u.Hostname(), manager) {
			return one, true
		}
	}
	if len(list) == 1 {
		return list[0], true
	}
	return endpoints{}, false
}

// newCloud checks the description of a cloud. Secrets are sent to the authority, and the
// suffix decides which hosts get tokens.
func newCloud(authority, suffix string) (cloud, error) {
	u, err := url.Parse(authority)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return cloud{}, errors.New("its sign-in endpoint is not a URL such as https://login.microsoftonline.com/")
	}
	suffix = strings.ToLower(strings.TrimPrefix(suffix, "."))
	if suffix == "" {
		return cloud{}, errors.New("it names no suffix of registries")
	}
	host, err := mirror.ParseHost(suffix)
	// One label would make a registry of any host below a top-level domain.
	if err != nil || host.String() != suffix || host.Port() != "" || strings.Count(suffix, ".") == 0 {
		return cloud{}, fmt.Errorf("the suffix of registries %s is not a domain such as azurecr.io", quoted(suffix))
	}
	return cloud{authority: strings.TrimSuffix(u.String(), "/") + "/", suffix: suffix}, nil
}

// LoginServer returns an image's host, and true if it is a login server of
// Azure Container Registry: in any public cloud, or in the configured cloud.
// The network is used only if the configured cloud is not a public one and the
// host may be one of its registries; then its resource manager is asked.
func (s *Source) LoginServer(ctx context.Context, image mirror.Image) (mirror.Host, bool, error) {
	if host, ok := credential.LoginServer(image); ok {
		return host, true, nil
	}
	host, err := mirror.ParseHost(image.Host())
	if err != nil || host.String() != image.Host() || !s.config.mayServe(host) {
		return mirror.Host{}, false, nil
	}
	cloud, err := s.cloud(ctx)
	if err != nil {
		return mirror.Host{}, false, err
	}
	return host, host.ACRSuffixIn(cloud.suffix), nil
}

// mayServe reports whether a host looks like a registry of the cloud, before the cloud
// is looked up. Registries of private clouds are named NAME.azurecr.DOMAIN and
// NAME.azsacr.REGION.DOMAIN, and are in the domain of their resource manager. A cloud
// without a resource manager is read from a file, which is cheap.
func (c Config) mayServe(host mirror.Host) bool {
	if !c.custom() || c.manager == "" {
		return c.custom()
	}
	labels := strings.Split(host.Hostname(), ".")
	for _, label := range labels[1:] {
		if label == "azurecr" || label == "azsacr" {
			return true
		}
	}
	u, err := url.Parse(c.manager)
	if err != nil {
		return false
	}
	manager := strings.Split(strings.ToLower(u.Hostname()), ".")
	return len(labels) > 2 && len(manager) > 2 && strings.Join(labels[len(labels)-2:], ".") == strings.Join(manager[len(manager)-2:], ".")
}
