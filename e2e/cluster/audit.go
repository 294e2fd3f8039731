package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
)

// An AuditEvent is one request that the API server answered.
type AuditEvent struct {
	Verb       string
	RequestURI string
	UserAgent  string
	User       struct {
		Username string
		Groups   []string
	}
	ObjectRef struct {
		Resource, Namespace, Name, Subresource string
	}
	ResponseStatus struct{ Code int }
}

// Audit returns all requests so far, in the order of their answers.
func (c *Cluster) Audit() ([]AuditEvent, error) {
	data, err := os.ReadFile(auditFile)
	if err != nil {
		return nil, err
	}
	var list []AuditEvent
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var e AuditEvent
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // a line that is being written
			return list, nil
		case err != nil:
			return nil, err
		}
		list = append(list, e)
	}
}
