package courier

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Cluster is the API server, as a pod reaches it.
type Cluster struct {
	Address   string // host:port
	TokenDir  string // of the pod's token, the CA and the namespace
	Namespace string // of the Leases
}

// TokenDir is where a pod's token is unless it is mounted elsewhere.
const TokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// NewCluster returns the cluster of a pod with an environment. The namespace may
// be "": then it is the pod's own.
func NewCluster(env func(string) string, tokenDir, namespace string) (Cluster, error) {
	host, port := env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return Cluster{}, errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; run this in a pod, or leave out --report-lease")
	}
	c := Cluster{Address: net.JoinHostPort(host, port), TokenDir: tokenDir, Namespace: namespace}
	if c.Namespace == "" {
		name, err := c.read("namespace")
		if err != nil {
			return Cluster{}, err
		}
		c.Namespace = name
	}
	return c, nil
}

// mostFile is the largest file of the token's directory, in bytes.
const mostFile = 1 << 20

func (c Cluster) read(name string) (string, error) {
	path := filepath.Join(c.TokenDir, name)
	data, err := input.ReadFile(path, mostFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist; mount a service account's token there, or leave out --report-lease", path)
	}
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}

const (
	// mostWait is how long the API may take to answer.
	mostWait = 30 * time.Second
	// mostAnswer is how much of an answer is read, in bytes.
	mostAnswer = 64 << 10
	manager    = "mirrorcred-courier"
)

// WriteLease implements leaseWriter. It changes the node's Lease, and creates it if
// it is missing: that needs no right to read.
func (c Cluster) WriteLease(ctx context.Context, l Lease, now time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	leases := "/apis/coordination.k8s.io/v1/namespaces/" + url.PathEscape(c.Namespace) + "/leases"
	fields := l.fields(now)
	err := c.send(ctx, http.MethodPatch, leases+"/"+url.PathEscape(l.Node), "application/merge-patch+json", fields)
	var answer *apiError
	if errors.As(err, &answer) && answer.code == http.StatusNotFound {
		fields["apiVersion"], fields["kind"] = "coordination.k8s.io/v1", "Lease"
		meta, _ := fields["metadata"].(map[string]any)
		meta["name"], meta["namespace"] = l.Node, c.Namespace
		err = c.send(ctx, http.MethodPost, leases, "application/json", fields)
	}
	if errors.As(err, &answer) {
		return answer.retry, err
	}
	return 0, err
}

// An apiError is an answer of the API that is not a success.
type apiError struct {
	code  int
	text  string
	retry time.Duration
}

// Error returns what the API says, and what to do if it does not allow it.
func (e *apiError) Error() string {
	hint := ""
	if e.code == http.StatusForbidden || e.code == http.StatusUnauthorized {
		hint = "; give the service account the verbs create and patch for leases in its namespace, and a token that is bound to its pod"
	}
	return fmt.Sprintf("the API answers %d: %s%s", e.code, e.text, hint)
}

// send sends a request. The token and the CA are read each time, because they are
// replaced; and no connection is kept, because of how seldom that is.
func (c Cluster) send(ctx context.Context, method, path, kind string, body any) error {
	token, err := c.read("token")
	if err != nil {
		return err
	}
	ca, err := c.read("ca.crt")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		return fmt.Errorf("%s has no certificate", filepath.Join(c.TokenDir, "ca.crt"))
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+c.Address+path+"?fieldManager="+manager, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", manager)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r) // follows no redirect, which would get the token
	if err != nil {
		return fmt.Errorf("the API at %s: %w", c.Address, err)
	}
	defer answer.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if answer.StatusCode/100 == 2 {
		return nil
	}
	return newAPIError(answer, data)
}

// newAPIError reads the message of a Status, and Retry-After.
func newAPIError(answer *http.Response, data []byte) *apiError {
	e := &apiError{code: answer.StatusCode, text: http.StatusText(answer.StatusCode)}
	var status struct{ Message string }
	if json.Unmarshal(data, &status) == nil && status.Message != "" {
		e.text = status.Message
	}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.retry = min(time.Duration(seconds)*time.Second, mostRetry)
	}
	return e
}
