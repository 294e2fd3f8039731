package tokens

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// An entry is one file of the cache: a credential, or a failure.
type entry struct {
	// Registry and Key are the key's, so that a file under another key's name is
	// not used.
	Registry string `json:"registry"`
	Key      string `json:"key"`
	// Since is when it was made, Until when it is not used any more.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`

	Username string    `json:"username,omitempty"`
	Password string    `json:"password,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`

	Failure string `json:"failure,omitempty"`
}

// good reports whether e may be used at now. One from the future is not: the
// clock was set back by an unknown time.
func (e entry) good(now time.Time) bool {
	const skew = time.Second
	return now.Before(e.Until) && now.Add(skew).After(e.Since)
}

// result is what [Cache.Get] returns for e.
func (e entry) result() (credential.Credential, bool, error) {
	if e.Failure != "" {
		return credential.Credential{}, true, &Remembered{e.Failure, e.Since, e.Until}
	}
	return credential.Credential{Username: e.Username, Password: credential.Secret(e.Password), Expires: e.Expires}, true, nil
}

// sealed is an entry on disk. If it was cut short or changed, it does not
// count.
type sealed struct {
	SHA256 string          `json:"sha256"` // of the bytes of entry
	Entry  json.RawMessage `json:"entry"`
}

func (e entry) encode() ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, errors.New("a time in an entry cannot be written")
	}
	return json.Marshal(sealed{hashOf(text), text})
}

// decode parses what encode made. The error repeats none of the bytes.
func decode(data []byte) (entry, error) {
	errTorn := errors.New("is cut short or was changed")
	var s sealed
	if json.Unmarshal(data, &s) != nil || s.SHA256 != hashOf(s.Entry) {
		return entry{}, errTorn
	}
	// The hash does not cover the bytes around the entry.
	if whole, err := json.Marshal(s); err != nil || !bytes.Equal(whole, data) {
		return entry{}, errTorn
	}
	var e entry
	decoder := json.NewDecoder(bytes.NewReader(s.Entry))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&e) != nil {
		return entry{}, errors.New("is from another version of this program")
	}
	return e, nil
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
