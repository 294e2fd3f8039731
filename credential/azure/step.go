package azure

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/mirrorcred/mirrorcred/credential"
)

const unexpected = "check which server answers there; it is not the expected one"

// A step is one part of getting a credential, for its errors: each is one
// line that names the step, whom it asked, how long that took and what to do.
type step struct {
	name, host string
	started    time.Time
	// secrets are cut out of a server's messages. They are pointers because fmt calls
	// no method on an unexported field.
	secrets []*credential.Secret
}

func startStep(name, host string, secrets ...credential.Secret) step {
	s := step{name: name, host: host, started: time.Now()}
	for _, secret := range secrets {
		if secret != "" {
			s.secrets = append(s.secrets, &secret)
		}
	}
	return s
}

func (s step) took() time.Duration {
	d := time.Since(s.started)
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// fault returns the error of a step that got a wrong answer.
func (s step) fault(what, remedy string) error {
	return fmt.Errorf("%s: %s after %s: %s; %s", s.name, s.host, s.took(), what, remedy)
}

// A busyError is the error of a server that asked to be left alone for a while.
type busyError struct {
	error
	after time.Duration
}

// RetryAfter returns for how long: what the token cache asks for.
func (e busyError) RetryAfter() time.Duration { return e.after }

// status returns the error for the status of an answer, with the server's message.
func (s step) status(resp response, message, remedy string) error {
	what := "status " + strconv.Itoa(resp.status)
	if resp.tries > 1 {
		what += " at the last of " + strconv.Itoa(resp.tries) + " tries"
	}
	if resp.status/100 == 3 {
		what += ", a redirect, which is not followed"
		message = ""
	}
	if after := resp.header.Get("Retry-After"); after != "" {
		what += ", with Retry-After " + quoted(after)
	}
	if message = s.scrub(message); message != "" {
		what += " (" + message + ")"
	}
	err := s.fault(what, remedy)
	if after, ok := retryAfter(resp.header.Get("Retry-After")); ok && resp.busy() {
		return busyError{err, after}
	}
	return err
}

// network returns the error for a request that got no answer.
func (s step) network(ctx context.Context, err error) error {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var alert tls.AlertError
	var address *url.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w after %s", s.name, context.Canceled, s.took())
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		return fmt.Errorf("%s: no answer from %s within %s (%w); %s", s.name, s.host, s.took(), context.DeadlineExceeded, s.reach())
	case errors.Is(err, endless{}), strings.Contains(err.Error(), "response headers exceeded"): // of net/http, which has no name for it
		return s.fault(endless{}.Error(), unexpected)
	case errors.As(err, &dns) && dns.IsNotFound:
		return s.fault("no such host", "check the name, and the node's DNS")
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.fault("connection refused", s.reach())
	case errors.As(err, &cert):
		return s.fault("its certificate is not trusted: "+s.scrub(cert.Err.Error()), s.trust())
	case errors.As(err, &alert):
		return s.fault("TLS failed: "+s.scrub(alert.Error()), "check whether a proxy is between")
	case errors.As(err, &address):
		err = address.Err
	}
	return s.fault(s.scrub(err.Error()), s.reach())
}

// reach says what to do for an unreachable host.
func (s step) reach() string {
	if s.name == managedIdentity {
		return "check that this is an Azure machine with a managed identity, and that no firewall or network policy keeps the node from the metadata service; or set aadClientId and aadClientSecret with useManagedIdentityExtension: false"
	}
	if s.name == identityBinding {
		return "check the address of the API server, and the node's firewall and routes"
	}
	return "check the node's firewall, routes and HTTPS_PROXY"
}

// trust says what to do about a certificate that is not trusted.
func (s step) trust() string {
	if s.name == identityBinding {
		return "check the node's clock, and the file with the CA of the API server"
	}
	return "check the node's clock and CA certificates, and whether a proxy breaks TLS open"
}

// scrub makes a server's text fit for an error: its first line, without secrets and
// words as long as a secret, and shortened.
func (s step) scrub(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret.Reveal(), "[secret]")
		text = strings.ReplaceAll(text, url.QueryEscape(secret.Reveal()), "[secret]")
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	words := strings.Fields(strings.Map(printable, text))
	for i, word := range words {
		// The longest thing worth reading is a GUID in brackets; the
		// shortest token is twice that.
		if len(word) > 72 {
			words[i] = "[…]"
		}
	}
	const most = 200
	text = strings.Join(words, " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// quoted returns foreign text in quotes, for an error.
func quoted(text string) string { return strconv.Quote(step{}.scrub(text)) }

// htmlPage stands for a page of HTML, which is not worth repeating.
const htmlPage = "a page of HTML"

// serverMessage returns the error message in a JSON body, in the dialects of Entra ID,
// the metadata service and registries; "" if there is none.
func serverMessage(body []byte) string {
	var said struct {
		Description string `json:"error_description"`
		Error       any    `json:"error"`
		Message     string `json:"message"`
		Errors      []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil {
		if strings.HasPrefix(http.DetectContentType(body), "text/html") {
			return htmlPage
		}
		return ""
	}
	name, _ := said.Error.(string)
	switch {
	case said.Description != "":
		return said.Description
	case len(said.Errors) > 0 && said.Errors[0].Message != "":
		return said.Errors[0].Message
	case said.Message != "":
		return said.Message
	}
	return name
}
