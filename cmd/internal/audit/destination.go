package audit

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Destination is where runs are logged. The zero Destination logs nothing.
// [ParseDestination] makes one.
type Destination struct {
	path  string
	write func(path string, e Event) error
}

// journalSocket is where systemd-journald listens
// (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const journalSocket = "/run/systemd/journal/socket"

// ParseDestination parses the path of a file, "unixgram:" and the path of a
// datagram socket, "journald", or "" for no log.
func ParseDestination(text string) (Destination, error) {
	if text == "" {
		return Destination{}, nil
	}
	d := Destination{text, Append}
	if path, ok := strings.CutPrefix(text, "unixgram:"); ok {
		d = Destination{path, send}
	} else if text == "journald" {
		return Destination{journalSocket, sendJournal}, hasSockets()
	}
	if err := hasSockets(); err != nil && d.path != text {
		return Destination{}, err
	}
	if !filepath.IsAbs(d.path) {
		return Destination{}, errors.New("this is not an absolute path; write one, or unixgram:/PATH for a datagram socket, journald for the journal, or \"\" for no log")
	}
	return d, nil
}

// Append writes an event there, as [Append] does; the path is below root. It
// never waits for a socket either: an event that is not received at once is
// lost.
func (d Destination) Append(root string, e Event) error {
	if d.write == nil {
		return nil
	}
	path := filepath.Join(root, d.path)
	dir, err := input.NewRoot(root).Resolve(filepath.Dir(path)) // the last name may not be a link
	if err != nil {
		return err
	}
	return d.write(filepath.Join(dir, filepath.Base(path)), e)
}

// send sends an event's line, as one datagram.
func send(path string, e Event) error {
	line, err := e.Encode()
	if err != nil {
		return err
	}
	return sendTo(path, line)
}

// sendJournal sends an event to the journal: its line as the message, and what
// people search for as fields.
func sendJournal(path string, e Event) error {
	line, err := e.Encode()
	if err != nil {
		return err
	}
	data := append([]byte("SYSLOG_IDENTIFIER=mirror-credential-provider\nPRIORITY="+e.Outcome.priority()+"\nMESSAGE="), line...)
	short := e.cut(300)
	field := func(name, value string) {
		if value != "" {
			data = append(data, "MIRRORCRED_"+name+"="+value+"\n"...)
		}
	}
	field("OUTCOME", string(short.Outcome))
	field("IMAGE", short.Image)
	field("SOURCE", short.Source)
	for _, t := range short.Targets[:min(mostTargets, len(short.Targets))] {
		field("TARGET", t.Host)
	}
	return sendTo(path, data)
}

// priority is the outcome's priority in the journal: info, warning or error.
func (o Outcome) priority() string {
	switch o {
	case Refused:
		return "4"
	case Failed:
		return "3"
	}
	return "6"
}
