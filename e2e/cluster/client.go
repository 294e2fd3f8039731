package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// A Client makes requests to the API server with the rights of one token.
type Client struct {
	http  *http.Client
	token string
}

// As returns a client with the rights of another token.
func (c *Client) As(token string) *Client { return &Client{c.http, token} }

// A StatusError is an answer of the API server that is not a success.
type StatusError struct {
	Code    int // such as 403
	Message string
}

// Error returns the code and the message of the answer.
func (e *StatusError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// Do makes one request. body, unless nil, is sent as JSON, and the answer is decoded
// into the value that into points to, unless that is nil. The error is a
// [*StatusError] if the API server refuses.
func (c *Client) Do(ctx context.Context, method, path string, body, into any) error {
	contentType := "application/json"
	if method == http.MethodPatch {
		contentType = "application/merge-patch+json"
	}
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	return c.send(ctx, method, path, contentType, data, into)
}

func (c *Client) send(ctx context.Context, method, path, contentType string, body []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		var status struct{ Message string }
		if json.Unmarshal(data, &status) != nil || status.Message == "" {
			status.Message = strings.TrimSpace(string(data))
		}
		return fmt.Errorf("%s %s: %w", method, path, &StatusError{answer.StatusCode, status.Message})
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// Get returns the object at a path such as [Pod] returns.
func (c *Client) Get(ctx context.Context, path string) (Object, error) {
	var o Object
	return o, c.Do(ctx, http.MethodGet, path, nil, &o)
}

// Delete removes the object at a path, a pod without the time to end by itself.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.Do(ctx, http.MethodDelete, path, map[string]any{
		"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background",
	}, nil)
}

// Wait waits until the object at a path is there and meets a condition, which returns
// what is missing. It fails after the time given, with what was missing last.
func (c *Client) Wait(ctx context.Context, within time.Duration, path string, condition func(Object) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return node.Until(ctx, func() error {
		o, err := c.Get(ctx, path)
		if err != nil {
			return err
		}
		if err := condition(o); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

// Token returns a token of a service account for one audience, or for the API server
// if that is "".
func (c *Client) Token(ctx context.Context, namespace, account, audience string) (string, error) {
	return c.tokenFor(ctx, namespace, account, audience, nil)
}

// PodToken returns a token of a pod's service account as the pod has it, bound to
// the pod and its node.
func (c *Client) PodToken(ctx context.Context, namespace, pod, audience string) (string, error) {
	o, err := c.Get(ctx, Pod(namespace, pod))
	if err != nil {
		return "", err
	}
	return c.tokenFor(ctx, namespace, o.Text("spec", "serviceAccountName"), audience, map[string]any{
		"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": o.Text("metadata", "uid"),
	})
}

func (c *Client) tokenFor(ctx context.Context, namespace, account, audience string, bound any) (string, error) {
	spec := map[string]any{"expirationSeconds": 3600, "boundObjectRef": bound}
	if audience != "" {
		spec["audiences"] = []string{audience}
	}
	var answer struct{ Status struct{ Token string } }
	err := c.Do(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token",
		map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}, &answer)
	return answer.Status.Token, err
}

// Review has the API server judge a token for an audience, as a service does that
// accepts the cluster's tokens. It returns the token's user, such as
// "system:serviceaccount:default:robot".
func (c *Client) Review(ctx context.Context, token, audience string) (string, error) {
	var answer struct {
		Status struct {
			Authenticated bool
			Error         string
			User          struct{ Username string }
		}
	}
	err := c.Do(ctx, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"spec": map[string]any{"token": token, "audiences": []string{audience}},
	}, &answer)
	if err == nil && !answer.Status.Authenticated {
		err = fmt.Errorf("the token is not one for %s: %s", audience, answer.Status.Error)
	}
	return answer.Status.User.Username, err
}
