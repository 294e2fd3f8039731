package azuretest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A registry with its token exchange, on loopback.
func ExampleStart() {
	cloud, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	acr, err := cloud.AddACR("contoso.azurecr.io", azuretest.ACROptions{})
	if err != nil {
		log.Fatal(err)
	}
	config, err := azure.ReadConfig([]byte(`{"tenantId": "` + azuretest.DefaultTenant + `",
		"aadClientId": "` + azuretest.DefaultClientID + `", "aadClientSecret": "` + azuretest.DefaultClientSecret + `"}`))
	if err != nil {
		log.Fatal(err)
	}
	source := azure.New(config, azure.Options{DialContext: cloud.DialContext, RootCAs: cloud.RootCAs()})
	registry, err := mirror.ParseHost("contoso.azurecr.io")
	if err != nil {
		log.Fatal(err)
	}
	c, err := source.Credential(context.Background(), credential.Query{Registry: registry, Image: "contoso.azurecr.io/app"})
	fmt.Println(c.Username == azure.Username, c.Password, err)
	for _, r := range acr.Requests() {
		fmt.Println(r.Method, r.URL)
	}
	// Output:
	// true [secret] <nil>
	// GET https://contoso.azurecr.io/v2/
	// POST https://contoso.azurecr.io/oauth2/exchange
}
