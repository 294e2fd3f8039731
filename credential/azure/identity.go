package azure

import (
	"context"
	"errors"

	"github.com/mirrorcred/mirrorcred/credential"
)

// Names of the steps that end in a token of Entra ID.
const (
	managedIdentity  = "managed identity"
	servicePrincipal = "service principal"
	workloadIdentity = "workload identity"
	identityBinding  = "identity binding"
)

// scope requests a token of Entra ID for registries; it is the same in every cloud
// (kubernetes-sigs/cloud-provider-azure, pkg/credentialprovider/azure_credentials.go).
const scope = "https://containerregistry.azure.net/.default"

// An identity is the one that pulls, as Entra ID knows it: the node's, or a pod's.
type identity interface {
	// token returns a token for registries. It takes at most IdentityLimit;
	// the error is one line and holds no secret.
	token(ctx context.Context, o Options) (credential.Secret, error)
}

// identity returns the identity for a query, and its tenant. It reads only files. The
// error is one line.
func (s *Source) identity(ctx context.Context, query credential.Query, in cloud) (identity, string, error) {
	if query.ServiceAccountToken != "" {
		return s.pod(ctx, query, in)
	}
	if s.opts.RequireServiceAccount {
		return nil, "", errors.New("the pod's identity is required, and the request carries no service-account token; set tokenAttributes for this provider in the kubelet's CredentialProviderConfig")
	}
	id, err := s.node(ctx, in)
	return id, s.config.tenant, err
}

// node returns the node's own identity.
func (s *Source) node(ctx context.Context, in cloud) (identity, error) {
	c := s.config
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.managed {
		return managed{c.assigned}, nil
	}
	app := application{servicePrincipal, in.authority, c.tenant, c.clientID, "tenantId", "aadClientId"}
	switch {
	case in.adfs():
		return nil, errADFS
	case c.secret != nil:
		return bySecret{app, c.secret}, nil
	case c.byToken:
		return s.federated(ctx, app)
	}
	return s.certified(ctx, app)
}

// Annotations of a service account that say who its pods are.
const (
	clientAnnotation = "kubernetes.azure.com/acr-client-id"
	tenantAnnotation = "kubernetes.azure.com/acr-tenant-id"
)

// Annotated reports whether the annotations of a service account name an
// identity for its pods, or a part of one.
func Annotated(annotations map[string]string) bool {
	return annotations[clientAnnotation] != "" || annotations[tenantAnnotation] != ""
}

// pod returns the identity of the pod, which its service account names.
func (s *Source) pod(ctx context.Context, query credential.Query, in cloud) (identity, string, error) {
	token := query.ServiceAccountToken
	client, tenant := query.ServiceAccountAnnotations[clientAnnotation], query.ServiceAccountAnnotations[tenantAnnotation]
	if client == "" {
		client = s.opts.ClientID
	}
	if tenant == "" {
		tenant = s.opts.TenantID
	}
	bind := s.opts.Binding != nil
	if bind && tenant == "" {
		// The bound identity is in the cluster's own tenant.
		tenant = s.config.tenant
	}
	switch {
	case !token.IsToken():
		return nil, "", errors.New("the request's service-account token holds spaces or control characters; check what is between the kubelet and this program")
	case client == "":
		return nil, "", missing("client id", clientAnnotation, "the identity that pulls")
	case tenant == "":
		return nil, "", missing("tenant id", tenantAnnotation, "the tenant of that identity")
	case bind:
		id, err := s.bound(ctx, client, token)
		return id, tenant, err
	}
	if in.adfs() {
		return nil, "", errADFS
	}
	app := application{workloadIdentity, in.authority, tenant, client, tenantAnnotation, clientAnnotation}
	return byAssertion{app, &token}, tenant, nil
}

func missing(what, annotation, meaning string) error {
	return errors.New("the request carries a service-account token and no " + what + " annotation; annotate the pod's service account with " + annotation + ": " + meaning + ", and name the annotation in tokenAttributes of the kubelet's CredentialProviderConfig")
}
