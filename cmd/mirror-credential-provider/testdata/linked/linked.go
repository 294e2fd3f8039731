// Linked does what the program empty does, and links azidentity: what any
// credential plugin for Azure costs at least.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

func main() {
	if len(os.Args) > 1 { // never, which the linker does not know
		asks()
	}
	var request map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(request); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// asks uses the identities that the plugin uses.
func asks() {
	managed, _ := azidentity.NewManagedIdentityCredential(nil)
	secret, _ := azidentity.NewClientSecretCredential("", "", "", nil)
	for _, c := range []azcore.TokenCredential{managed, secret} {
		_, err := c.GetToken(context.Background(), policy.TokenRequestOptions{})
		fmt.Println(err)
	}
}
