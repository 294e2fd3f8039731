package azure

import (
	"context"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/mirrorcred/mirrorcred/credential"
)

// A managed identity is the machine's: the one assigned by a client or
// resource id, or the system's.
type managed struct{ assigned string }

func (m managed) token(ctx context.Context, o Options) (credential.Secret, error) {
	return library{
		step:   startStep(managedIdentity, "169.254.169.254"),
		client: o.client(noProxy),
		config: "userAssignedIdentityID",
		// The metadata service answers 404 and 410 while it is being updated
		// (learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
		busy: []int{http.StatusNotFound, http.StatusGone},
		// The library caches tokens of managed identities for the whole
		// process, whichever endpoint they came from. With claims, which are
		// not sent, it asks again.
		claims: "{}",
		make:   m.credential,
		remedy: m.remedy,
	}.token(ctx, o)
}

func (m managed) credential(o policy.ClientOptions) (azcore.TokenCredential, error) {
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o}
	switch {
	case strings.Contains(strings.ToLower(m.assigned), "/subscriptions/"):
		options.ID = azidentity.ResourceID(m.assigned)
	case m.assigned != "":
		options.ID = azidentity.ClientID(m.assigned)
	}
	return azidentity.NewManagedIdentityCredential(options)
}

func (m managed) remedy(string) string {
	if m.assigned != "" {
		return "assign userAssignedIdentityID to this machine, or set it to the client id or resource id of an identity that is"
	}
	return "turn the machine's system-assigned identity on, or set userAssignedIdentityID to the client id or resource id of one that is assigned"
}
