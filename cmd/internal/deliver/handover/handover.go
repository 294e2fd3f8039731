// Package handover knows the files by which the process that asks registries
// hands a credential to the process that writes it into hosts.toml.
//
// The first has the network, the second has not. They meet in one directory,
// which only root can read: for each delivery key (package mirror) there is a
// [Value], a [Fault], or both, if a credential could not be renewed. The files
// change whole or not at all, and survive a power cut.
//
// The package has no network and decides nothing. Start at [New].
package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// Dir is the directory of the files, on the node.
const Dir = "/var/lib/mirrorcred/delivered"

// A Value is a credential that its registry has accepted, as the header that
// containerd sends.
type Value struct {
	// Registry is the target that gets the header, and no other.
	Registry string
	// Authorization is the header's whole value: "Basic …" or "Bearer …".
	Authorization credential.Secret
	// Realm says that the registry sends its clients to a token realm. The kubelet
	// must then try the pull without a credential, and containerd must be 2.1 or
	// later.
	Realm bool
	// Until is when the registry stops accepting the header; the zero time if it has
	// no end.
	Until time.Time
	// Credential is the name of the credential in the map.
	Credential string
	// From is when the credential was fetched.
	From time.Time
	// Renew is when to fetch it again; the zero time for the middle of its life.
	Renew time.Time
	// Issued is when the credential was issued, the zero time if it does not say so.
	Issued time.Time
	// Unproved says that the registry answers without the header too, so that its
	// answer does not show that it accepts the header.
	Unproved bool
}

// Ended reports whether the registry no longer accepts the header.
func (v Value) Ended(now time.Time) bool { return !v.Until.IsZero() && !now.Before(v.Until) }

// A Fault says why there is no value, or no newer one.
type Fault struct {
	Registry string
	// Reason is one sentence: what the registry answered and what to do. It has no
	// secret.
	Reason string
	At     time.Time
}

// valueFile and faultFile are the files' formats.
type valueFile struct {
	Registry      string `json:"registry"`
	Authorization string `json:"authorization"`
	Realm         bool   `json:"realm"`
	Until         string `json:"until"` // RFC 3339, "" for none
	Credential    string `json:"credential"`
	From          string `json:"from"`
	Renew         string `json:"renew,omitempty"`
	Issued        string `json:"issued,omitempty"`
	Unproved      bool   `json:"unproved,omitempty"`
}

type faultFile struct {
	Registry string `json:"registry"`
	Reason   string `json:"reason"`
	At       string `json:"at"`
}

func (v Value) encode() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	return encode(valueFile{v.Registry, v.Authorization.Reveal(), v.Realm, text(v.Until), v.Credential, text(v.From), text(v.Renew), text(v.Issued), v.Unproved})
}

// check refuses a value that must not become a header. Its error has no part of it.
func (v Value) check() error {
	scheme, token, _ := strings.Cut(v.Authorization.Reveal(), " ")
	switch {
	case v.Registry == "":
		return errors.New("it names no registry")
	case scheme != "Basic" && scheme != "Bearer" || !credential.Secret(token).IsToken():
		return errors.New("its authorization is neither \"Basic\" nor \"Bearer\" with one printable word")
	}
	return nil
}

func decodeValue(data []byte) (Value, error) {
	var f valueFile
	if err := decode(data, &f); err != nil {
		return Value{}, err
	}
	until, err1 := moment(f.Until)
	from, err2 := moment(f.From)
	renew, err3 := moment(f.Renew)
	issued, err4 := moment(f.Issued)
	v := Value{f.Registry, credential.Secret(f.Authorization), f.Realm, until, f.Credential, from, renew, issued, f.Unproved}
	return v, errors.Join(err1, err2, err3, err4, v.check())
}

func (f Fault) encode() ([]byte, error) {
	return encode(faultFile{f.Registry, strings.Join(strings.Fields(f.Reason), " "), text(f.At)})
}

func decodeFault(data []byte) (Fault, error) {
	var f faultFile
	if err := decode(data, &f); err != nil {
		return Fault{}, err
	}
	at, err := moment(f.At)
	return Fault{f.Registry, f.Reason, at}, err
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// decode parses one whole JSON object. Its error does not quote the data.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(into) != nil || d.More() {
		return errors.New("it is not a file that this version of mirrorcred writes")
	}
	return nil
}

func text(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time", s)
	}
	return t, nil
}
