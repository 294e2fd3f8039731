package azure_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A source never sends anything to a host that is not a login server of the
// configured cloud.
func ExampleSource_Credential() {
	config, err := azure.ReadConfig([]byte(`{
		"tenantId": "72f988bf-0000-0000-0000-000000000000",
		"useManagedIdentityExtension": true
	}`))
	if err != nil {
		log.Fatal(err)
	}
	source := azure.New(config, azure.Options{})
	registry, err := mirror.ParseHost("evilazurecr.io")
	if err != nil {
		log.Fatal(err)
	}
	query := credential.Query{Registry: registry, Image: "evilazurecr.io/app"}
	fmt.Println(source.Identity(query))
	_, err = source.Credential(context.Background(), query)
	fmt.Println(err)
	// Output:
	// managed identity
	// "evilazurecr.io" is not a login server of Azure Container Registry (NAME.azurecr.io); give it another credential, or set cloud if the registry is in another one
}
