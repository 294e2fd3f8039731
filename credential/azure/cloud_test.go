package azure_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestLookupOnce asks a private cloud for its endpoints once, for many
// registries at once.
func TestLookupOnce(t *testing.T) {
	w := startWorld(t, "contoso.azurecr.cloud.corp")
	source := newSource(t, modes["manager"], w.options())
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := source.Credential(t.Context(), query(t, "contoso.azurecr.cloud.corp"))
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(w.manager.Requests()); n != 1 {
		t.Errorf("the resource manager was asked %d times; want once", n)
	}
}

// TestLoginServer holds which images are of a login server, and what it costs to know.
func TestLoginServer(t *testing.T) {
	file := func(o *azure.Options) { o.EnvironmentFile = "/environment.json" }
	for _, test := range []struct {
		config  string
		options func(*azure.Options)
		image   string
		want    bool
		asked   int // of the resource manager
	}{
		{"secret", nil, "contoso.azurecr.io/app", true, 0},
		{"secret", nil, "contoso.azurecr.cn/app", true, 0},
		{"secret", nil, "docker.io/library/nginx", false, 0},
		{"secret", nil, "contoso.azurecr.cloud.corp/app", false, 0},
		{"manager", nil, "contoso.azurecr.io/app", true, 0},
		{"manager", nil, "docker.io/library/nginx", false, 0},
		{"manager", nil, "mcr.microsoft.com/app", false, 0},
		{"manager", nil, "localhost:5000/app", false, 0},
		{"manager", nil, "evilazurecr.cloud.corp.evil.example/app", false, 0},
		{"manager", nil, "contoso.azurecr.cloud.corp/app", true, 1},
		{"manager", nil, "contoso.azurecr.cloud.corp:443/app", true, 1},
		{"manager", nil, "contoso.azurecr.cloud.corp:5000/app", false, 1},
		{"manager", nil, "CONTOSO.azurecr.cloud.corp/app", false, 0},
		{"manager", nil, "evilazurecr.cloud.corp/app", false, 1},
		{"manager", nil, "azurecr.cloud.corp/app", false, 1},
		{"manager", nil, "contoso.azurecr.other.corp/app", false, 1},
		{"manager", nil, "harbor.cloud.corp/app", false, 1},
		{"stack", file, "contoso.azurecr.cloud.corp/app", true, 0},
		{"stack", file, "docker.io/library/nginx", false, 0},
	} {
		w := startWorld(t, "contoso.azurecr.cloud.corp")
		o := w.options()
		if test.options != nil {
			test.options(&o)
		}
		config := modes[test.config]
		if config == "" {
			config = configs[test.config]
		}
		image, err := mirror.ParseImage(test.image)
		if err != nil {
			t.Fatal(err)
		}
		host, got, err := newSource(t, config, o).LoginServer(t.Context(), image)
		if err != nil || got != test.want || got && host.String() != image.Host() {
			t.Errorf("with %s LoginServer(%s) = %s, %t, %v; want %t", test.config, test.image, host, got, err, test.want)
		}
		asked := w.asked()
		if n := len(asked["manager"]); n != test.asked || n != len(flat(asked)) {
			t.Errorf("with %s LoginServer(%s) asks %q; want %d requests to the resource manager alone", test.config, test.image, flat(asked), test.asked)
		}
	}
}

// TestEnvironmentVariable holds where the description of a cloud is looked for.
func TestEnvironmentVariable(t *testing.T) {
	w := startWorld(t, "contoso.azurecr.cloud.corp")
	t.Setenv("AZURE_ENVIRONMENT_FILEPATH", "/environment.json")
	if _, err := newSource(t, modes["stack"], w.options()).Credential(t.Context(), query(t, "contoso.azurecr.cloud.corp")); err != nil {
		t.Error(err)
	}
}

// TestLookupIsTriedAgain checks that a caller who gave up is not taken for a
// cloud that is not there, and that a cloud that is not there is not asked for
// again.
func TestLookupIsTriedAgain(t *testing.T) {
	w := startWorld(t, "contoso.azurecr.cloud.corp")
	source := newSource(t, modes["manager"], w.options())
	ctx, cancel := context.WithCancel(t.Context())
	w.manager.Fail("", func(x *azuretest.Exchange) bool {
		cancel()
		return azuretest.Hang()(x)
	})
	if _, err := source.Credential(ctx, query(t, "contoso.azurecr.cloud.corp")); !errors.Is(err, context.Canceled) {
		t.Errorf("Credential() = %v; want that it was cancelled", err)
	}
	w.manager.Repair()
	if _, err := source.Credential(t.Context(), query(t, "contoso.azurecr.cloud.corp")); err != nil {
		t.Error(err)
	}

	source = newSource(t, modes["manager"], w.options())
	w.manager.Fail("", azuretest.Refuse(404))
	w.manager.Forget()
	image, err := mirror.ParseImage("contoso.azurecr.cloud.corp/app")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := source.LoginServer(t.Context(), image); err == nil || !strings.HasPrefix(err.Error(), "resource manager: ") {
			t.Errorf("LoginServer() = %v; want an error", err)
		}
	}
	if n := len(w.manager.Requests()); n != 1 {
		t.Errorf("the resource manager was asked %d times; want once", n)
	}
}
