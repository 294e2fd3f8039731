//go:build linux

package main_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	podID       = "22222222-aaaa-bbbb-cccc-dddddddddddd"
	podTenant   = "33333333-aaaa-bbbb-cccc-dddddddddddd"
	podToken    = azuretest.Canary + "pod~token"
	podClient   = `"kubernetes.azure.com/acr-client-id":"` + podID + `"`
	podBoth     = podClient + `,"kubernetes.azure.com/acr-tenant-id":"` + podTenant + `"`
	bindingName = "binding.oic.example"
)

// startPodCloud returns a stand-in that knows a pod, at Entra ID and at the
// cluster's binding.
func startPodCloud(t *testing.T) (*azuretest.Cloud, *azuretest.ACR, *azuretest.Binding) {
	t.Helper()
	pod := azuretest.Federation{ClientID: podID, Tenant: podTenant, Assertion: podToken}
	cloud, err := azuretest.Start(azuretest.Options{Federations: []azuretest.Federation{pod}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	acr, err := cloud.AddACR("foo.azurecr.io", azuretest.ACROptions{})
	if err != nil {
		t.Fatal(err)
	}
	bound := pod
	bound.Tenant = "" // the cluster's own
	binding, err := cloud.AddBinding(bindingName, "10.0.0.1:443", bound)
	if err != nil {
		t.Fatal(err)
	}
	return cloud, acr, binding
}

// ofPod is the request for an image of a pod whose service account has some
// annotations, given as the inside of a JSON object.
func ofPod(image, annotations string) string {
	return strings.Replace(request(image), "{", fmt.Sprintf(`{"serviceAccountToken":%q,"serviceAccountAnnotations":{%s},`, podToken, annotations), 1)
}

// TestPods holds whose identity answers a pod with a token. "@NAME" in the
// arguments is the azure.json of that name, and --ib the flags of a binding.
func TestPods(t *testing.T) {
	tests := map[string]struct {
		args  string
		stdin string
		who   string // "pod", "bound" or "node" asks for the token; "" means none does
		want  string
	}{
		"pod":                    {"@managed", ofPod("foo.azurecr.io/x", podBoth), "pod", direct},
		"pod, not managed":       {"@principal", ofPod("foo.azurecr.io/x", podBoth), "pod", direct},
		"pod, no node identity":  {"@identless", ofPod("foo.azurecr.io/x", podBoth), "pod", direct},
		"half annotated":         {"@managed", ofPod("foo.azurecr.io/x", podClient), "", "no tenant id annotation; annotate the pod's service account with kubernetes.azure.com/acr-tenant-id"},
		"not annotated":          {"@managed", ofPod("foo.azurecr.io/x", ""), "", "no client id annotation"},
		"not ACR":                {"@managed", ofPod("docker.io/library/nginx", ""), "", nothing},
		"mirrored":               {"@managed -r " + both, ofPod("mcr.microsoft.com/x", podBoth), "node", mirrored},
		"mirrored, no id":        {"@managed -r " + both, ofPod("mcr.microsoft.com/x", ""), "node", mirrored},
		"beside a mirror":        {"@managed -r " + both, ofPod("foo.azurecr.io/x", podBoth), "pod", direct},
		"bound":                  {"@managed --ib", ofPod("foo.azurecr.io/x", podClient), "bound", direct},
		"bound by default":       {"@managed --ib --ib-default-client-id=" + podID, ofPod("foo.azurecr.io/x", ""), "bound", direct},
		"bound, no id":           {"@managed --ib", ofPod("foo.azurecr.io/x", ""), "", "no client id annotation"},
		"bound, no token":        {"@managed --ib", request("foo.azurecr.io/x"), "node", direct},
		"bound, not ACR":         {"@managed --ib", ofPod("docker.io/library/nginx", ""), "", nothing},
		"bound, mirrored":        {"@managed --ib -r " + both, ofPod("mcr.microsoft.com/x", podBoth), "node", mirrored},
		"bound, no CA":           {"@managed --ib --ib-ca=/nonesuch", ofPod("foo.azurecr.io/x", podClient), "", "identity binding: open /nonesuch: no such file or directory; "},
		"bound, no such server":  {"@managed --ib --ib-apiserver-ip=127.0.0.1:1", ofPod("foo.azurecr.io/x", podClient), "", "identity binding: binding.oic.example at 127.0.0.1:1 after "},
		"bound, server no host":  {"@managed --ib --ib-apiserver-ip=https://x", ofPod("foo.azurecr.io/x", podClient), "", "is not the address of an API server; "},
		"bound, name with port":  {"@managed --ib --ib-sni-name=x:443", ofPod("foo.azurecr.io/x", podClient), "", "is not the name of an identity binding's endpoint; "},
		"stack, not described":   {"@stack", request("foo.azurecr.io/x"), "", "set resourceManagerEndpoint, or AZURE_ENVIRONMENT_FILEPATH"},
		"principal, no password": {"@certified", request("foo.azurecr.io/x"), "", "aadClientCertPath: open /nonesuch: no such file or directory; "},
	}
	dir := t.TempDir()
	for name, text := range configs {
		writeFile(t, dir, name, text)
	}
	writeFile(t, dir, "stack", `{"cloud":"AzureStackCloud","tenantId":"`+tenant+`","useManagedIdentityExtension":true}`)
	writeFile(t, dir, "certified", `{"tenantId":"`+tenant+`","aadClientId":"`+clientID+`","aadClientCertPath":"/nonesuch"}`)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, acr, binding := startPodCloud(t)
			ca := writeFile(t, t.TempDir(), "ca.crt", string(binding.CA))
			var args []string
			for _, arg := range strings.Fields(test.args) {
				switch name, isFile := strings.CutPrefix(arg, "@"); {
				case isFile:
					args = append(args, dir+"/"+name)
				case arg == "--ib":
					args = append(args, "--ib-sni-name="+bindingName, "--ib-apiserver-ip="+binding.Address, "--ib-ca="+ca)
				default:
					args = append(args, arg)
				}
			}
			got := run(t, cloud, names[0], test.stdin, args...)
			if want := strings.HasPrefix(test.want, "{"); want && got.answer() != test.want || want != (got.code == 0) || !want && !strings.Contains(got.stderr, test.want) {
				t.Errorf("it exits %d with %s%s; want %s", got.code, got.answer(), got.stderr, test.want)
			}
			asked := map[string]int{"pod": len(cloud.Entra.Requests()), "bound": len(binding.Requests()), "node": len(cloud.Identity.Requests())}
			for who, n := range asked {
				if (n > 0) != (who == test.who) {
					t.Errorf("%s: asked %d times; want %q alone to ask", who, n, test.who)
				}
			}
			if n := len(acr.Requests()); test.who != "" && n != 2 {
				t.Errorf("the registry was asked %d times; want 2", n)
			}
		})
	}
}

// TestPodsByRoute checks that a map gives a pod's identity to the registry that
// the pod names, and the node's to a mirror.
func TestPodsByRoute(t *testing.T) {
	for _, test := range []struct{ flags, stdin, who string }{
		{"", ofPod("foo.azurecr.io/x", podBoth), "pod"},
		{"", ofPod("foo.azurecr.io/x", ""), "node"},
		{"", request("foo.azurecr.io/x"), "node"},
		{"", ofPod(mcrImage, podBoth), "node"},
		{"--ib", ofPod("foo.azurecr.io/x", podClient), "bound"},
		{"--ib", ofPod("foo.azurecr.io/x", ""), "node"},
		{"--ib --ib-default-client-id=" + podID, ofPod("foo.azurecr.io/x", ""), "bound"},
		{"--ib --ib-default-client-id=" + podID, ofPod(mcrImage, ""), "node"},
		{"--ib --ib-default-client-id=" + podID, request("foo.azurecr.io/x"), "node"},
	} {
		cloud, _, binding := startPodCloud(t)
		n := plant(t, toFoo)
		writeFile(t, n.root, "/etc/kubernetes/certs/ca.crt", string(binding.CA))
		args := []string{fromRoute, "--root=" + n.root}
		for _, flag := range strings.Fields(test.flags) {
			if flag == "--ib" {
				args = append(args, "--ib-sni-name="+bindingName, "--ib-apiserver-ip="+binding.Address)
			} else {
				args = append(args, flag)
			}
		}
		got := run(t, cloud, names[0], test.stdin, args...)
		if got.code != 0 || !strings.Contains(got.answer(), "<refresh>") {
			t.Errorf("%s for %s exits %d with %s%s", test.flags, test.stdin, got.code, got.answer(), got.stderr)
		}
		asked := map[string]int{"pod": len(cloud.Entra.Requests()), "bound": len(binding.Requests()), "node": len(cloud.Identity.Requests())}
		for who, n := range asked {
			if (n > 0) != (who == test.who) {
				t.Errorf("%s for %s: %s asked %d times; want %q alone to ask", test.flags, test.stdin, who, n, test.who)
			}
		}
	}
}

// TestRootOfFiles checks that what azure.json names is below --root, too.
func TestRootOfFiles(t *testing.T) {
	cloud, _, _ := startPodCloud(t)
	root := t.TempDir()
	writeFile(t, root, mirror.DefaultAzureConfig, `{"tenantId":"`+podTenant+`","aadClientId":"`+podID+`","aadFederatedTokenFile":"/var/run/token"}`)
	writeFile(t, root, "/var/run/token", podToken+"\n")
	got := run(t, cloud, names[0], request("foo.azurecr.io/x"), mirror.DefaultAzureConfig, "--root="+root)
	if got.answer() != direct {
		t.Errorf("it exits %d with %s%s; want %s", got.code, got.answer(), got.stderr, direct)
	}
}

// TestPrivateClouds checks which registries are a private cloud's, and that its
// resource manager is asked once, for images that may be there.
func TestPrivateClouds(t *testing.T) {
	const (
		host       = "foo.azurecr.cloud.corp"
		managed    = `{"cloud":"AzureCorp","tenantId":"` + tenant + `","useManagedIdentityExtension":true,"resourceManagerEndpoint":"https://management.cloud.corp/"}`
		principal  = `{"cloud":"AzureCorp","tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientSecret":"` + secret + `","resourceManagerEndpoint":"https://management.cloud.corp/"}`
		fromMirror = hour + `"` + host + `":` + token + `,"mcr.microsoft.com":` + token + "}}\n"
	)
	for _, test := range []struct {
		config, image, mirrors, want string
		asked                        int
	}{
		{managed, host + "/x", "", hour + `"` + host + `":` + token + "}}\n", 1},
		{managed, "mcr.microsoft.com/x", "mcr.microsoft.com:" + host, fromMirror, 1},
		{principal, "mcr.microsoft.com/x", "mcr.microsoft.com:" + host, fromMirror, 1},
		{principal, host + "/x", "", hour + wildcards + `,"` + host + `":` + pair + "}}\n", 1},
		{managed, "docker.io/library/nginx", "", nothing, 0},
		{managed, "harbor.cloud.corp/x", "", nothing, 1},
	} {
		cloud, err := azuretest.Start(azuretest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer cloud.Close()
		manager, err := cloud.AddResourceManager("management.cloud.corp", azuretest.Environment{
			Name: "AzureCorp", Manager: "https://management.cloud.corp/", SignIn: "https://login.cloud.corp/", Registry: "azurecr.cloud.corp",
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cloud.AddACR(host, azuretest.ACROptions{}); err != nil {
			t.Fatal(err)
		}
		if err := cloud.AddSignIn("login.cloud.corp"); err != nil {
			t.Fatal(err)
		}
		config := writeFile(t, t.TempDir(), "azure.json", test.config)
		got := run(t, cloud, names[0], request(test.image), config, "--registry-mirror="+test.mirrors)
		if got.answer() != test.want {
			t.Errorf("for %s it exits %d with %s%s; want %s", test.image, got.code, got.answer(), got.stderr, test.want)
		}
		if n := len(manager.Requests()); n != test.asked {
			t.Errorf("for %s the resource manager was asked %d times; want %d", test.image, n, test.asked)
		}
	}
}
