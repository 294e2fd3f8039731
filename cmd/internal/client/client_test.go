package client

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// TestProxy holds that the environment of containerd counts, not that of the test.
func TestProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://wrong:1")
	for address, want := range map[string]string{
		"https://contoso.azurecr.io/v2/": "http://proxy:3128", "https://harbor.corp/v2/": "", "http://plain/v2/": "",
	} {
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Proxy([]string{"PATH=/bin", "https_proxy=http://proxy:3128", "NO_PROXY=.corp"})(r)
		if err != nil || got == nil && want != "" || got != nil && got.String() != want {
			t.Errorf("the proxy for %s is %v, %v; want %q", address, got, err, want)
		}
	}
}

// TestAPI holds that the prefix of the repositories is not part of the address.
func TestAPI(t *testing.T) {
	for file, want := range map[string]string{
		"server = \"https://harbor.corp\"":                                              "https://harbor.corp/v2/",
		"server = \"http://127.0.0.1:30020\"":                                           "http://127.0.0.1:30020/v2/",
		"server = \"https://harbor.corp/v2/hub\"\noverride_path = true":                 "https://harbor.corp/v2/",
		"server = \"https://nexus.corp/repository/v2/hub\"\noverride_path = true":       "https://nexus.corp/repository/v2/",
		"server = \"https://nexus.corp/repository/v2hub/x\"\noverride_path = true":      "https://nexus.corp/repository/v2hub/x",
		"server = \"https://harbor.corp/v2\"\noverride_path = true\nskip_verify = true": "https://harbor.corp/v2/",
	} {
		list, err := hosts.Read([]byte(file), "docker.io", hosts.Version{})
		if err != nil {
			t.Fatal(file, err)
		}
		if got := API(list[0]); got != want {
			t.Errorf("API of %q = %q; want %q", file, got, want)
		}
	}
}

// TestDialTimeout holds that the time to connect is that of hosts.toml.
func TestDialTimeout(t *testing.T) {
	full, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c, err := New(Files{}, hosts.Endpoint{DialTimeout: time.Nanosecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+full.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(r)
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		t.Errorf("with a dial_timeout of 1 ns, the request ends with %v; want a time-out", err)
	}
}
