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
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A cloud is where its Entra ID is, as a URL with a slash at its end; how its
// registries end; and the host of its resource manager.
type cloud struct{ authority, suffix, manager string }

// cloudNamed returns the cloud of a name, whose case does not matter. Every
// name that is not known is the public cloud's, as in acr-credential-provider
// (kubernetes-sigs/cloud-provider-azure, pkg/azclient/cloud.go).
func cloudNamed(name string) cloud {
	switch strings.ToLower(name) {
	case "azurechinacloud":
		return cloud{"https://login.chinacloudapi.cn/", "azurecr.cn", "management.chinacloudapi.cn"}
	case "azureusgovernment", "azureusgovernmentcloud":
		return cloud{"https://login.microsoftonline.us/", "azurecr.us", "management.usgovcloudapi.net"}
	}
	return cloud{"https://login.microsoftonline.com/", "azurecr.io", "management.azure.com"}
}

// signIn are the hosts of Entra ID in the public clouds, by all their names:
// one may send on to another, as China's old name does to its new one
// (github.com/AzureAD/microsoft-authentication-library-for-go,
// apps/internal/oauth/ops/authority/known_metadata.go).
var signIn = [...]string{
	"login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net",
	"login.chinacloudapi.cn", "login.partner.microsoftonline.cn",
	"login.microsoftonline.us", "login.usgovcloudapi.net",
}

// isSignIn reports whether a host is Entra ID in a public cloud, or in one
// region of it, which is a label in front.
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

// custom reports whether the cloud's endpoints are to be looked up.
func (c Config) custom() bool {
	return c.manager != "" || strings.EqualFold(c.cloudName, stackCloud)
}

// A lookup remembers the cloud that was found, and that none was: it is asked
// for once, however many registries there are.
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
	// That the caller gave up says nothing about the cloud.
	if ctx.Err() == nil {
		l.done, l.cloud, l.err = true, found, err
	}
	return found, err
}

// findCloud asks the file of the environment first: who wrote it meant to be
// asked instead of the resource manager.
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

// cloudFor is how long it is kept where the endpoints of a cloud are.
const cloudFor = 24 * time.Hour

// keptCloud is askManager, or what Options.KeepCloud has of it: nothing in it is
// secret, but a cloud too is believed for a time.
func (s *Source) keptCloud(ctx context.Context) (cloud, error) {
	if s.opts.KeepCloud == nil {
		return s.askManager(ctx)
	}
	kept, err := s.opts.KeepCloud(ctx, func(ctx context.Context) (credential.Credential, error) {
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
		return cloud{}, fmt.Errorf("%s: %s is not JSON with the endpoints of a cloud; look at its syntax", environmentVariable, path)
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

// endpoints is what a resource manager says of one cloud.
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

// decodeEndpoints reads a list of clouds, or the one cloud that later versions
// of the interface answer with.
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

// choose picks the cloud of the configured name, else the one whose resource
// manager was asked, else the only one there is.
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

// newCloud checks what was said of a cloud: tokens and secrets go to the one,
// and the other says to whom.
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

// LoginServer returns an image's host where it is a login server of Azure
// Container Registry: one of any public cloud, which costs nothing to know, or
// one of the configured cloud. Nothing is asked but the resource manager of a
// cloud that is not a public one, and that only for a host that may well be
// its registry.
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

// mayServe reports whether a host looks as if it were a registry of the cloud
// that is yet to be looked up. Registries of private clouds are named
// NAME.azurecr.DOMAIN and NAME.azsacr.REGION.DOMAIN, and stand in the domain of
// their resource manager. A cloud without one is read from a file, which costs
// no more than to look.
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
