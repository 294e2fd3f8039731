package azurejson_test

import (
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/credential/azure/azurejson"
)

// The file may be JSON or YAML, with keys in any case.
func ExampleRead() {
	file, err := azurejson.Read([]byte("cloud: AzurePublicCloud\ntenantID: contoso\naadClientSecret: hunter2\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(file.TenantID, file.Managed, file.ClientSecret)
	// Output: contoso false [secret]
}
