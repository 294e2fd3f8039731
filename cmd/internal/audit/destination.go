package audit

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// A Destination is where runs are written down. The zero Destination is
// nowhere. Make one by [ParseDestination].
type Destination struct {
	path  string
	write func(path string, e Event) error
}

// journalSocket is where systemd-journald listens
// (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const journalSocket = "/run/systemd/journal/socket"

// ParseDestination parses the path of a file, "unixgram:" and the path of a
// datagram socket, "journald", or "", which is nowhere.
func ParseDestination(text string) (Destination, error) {
	if text == "" {
		return Destination{}, nil
	}
	d := Destination{text, Append}
	if path, ok := strings.CutPrefix(text, "unixgram:"); ok {
		d = Destination{path, send}
	} else if text == "journald" {
		return Destination{journalSocket, sendJournal}, nil
	}
	if !filepath.IsAbs(d.path) {
		return Destination{}, errors.New("this is not an absolute path; write one, or unixgram:/PATH for a datagram socket, journald for the journal, or \"\" for no log")
	}
	return d, nil
}

// Append writes an event there, as [Append] does; where the path is, is below
// root. Like a file, a socket is not waited for: an event that nobody takes at
// once is lost.
func (d Destination) Append(root string, e Event) error {
	if d.write == nil {
		return nil
	}
	return d.write(filepath.Join(root, d.path), e)
}

// send sends an event's line, as one datagram.
func send(path string, e Event) error {
	line, err := e.Encode()
	if err != nil {
		return err
	}
	return sendTo(path, line)
}

func sendTo(path string, data []byte) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	// Not conn.Write, which waits for a receiver that is behind.
	errRaw := raw.Write(func(fd uintptr) bool {
		_, err = syscall.Write(int(fd), data)
		return true
	})
	return errors.Join(errRaw, err)
}

// sendJournal sends an event to the journal: its line as the message, and what
// one looks for as fields.
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

// priority is the outcome in the journal: info, warning or error.
func (o Outcome) priority() string {
	switch o {
	case Refused:
		return "4"
	case Failed:
		return "3"
	}
	return "6"
}
