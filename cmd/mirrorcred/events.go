package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
)

const eventsUsage = `Usage: mirrorcred events [FLAGS]

Prints what the credential plugin did on this node, a line for each time that
the kubelet ran it: when, how it ended, for which image and target, how long it
took, and why there was no credential.

  -f, --follow           print the last 10 events, or those of --since, and go
                         on with what comes; a log that is not there yet is
                         waited for
      --since WHEN       leave out what was before: 10m, 2h30m, 15:04,
                         "2006-01-02 15:04" or 2006-01-02T15:04:05Z
      --image SUBSTRING  only images that have SUBSTRING in their name
      --json             print the lines as they are in the log
      --log FILE         the log (default /var/log/mirrorcred/plugin.jsonl below
                         --root), where the plugin is run with --audit-log
      --root DIR         take all paths as below DIR
  -h, --help             print this text

OUTCOME is answered: a credential was given; empty: the image needs none;
refused: none may be given, or the node is set up wrongly; failed: none could be
had. A target from the token cache has (cached) behind it.

Exit code: 0 there is a log, whatever is in it; 1 there is none.

Example:
  mirrorcred events -f --since 1h --image mcr.microsoft.com/
`

// pollEvery is how often a log that is followed is looked at.
const pollEvery = 500 * time.Millisecond

// lastEvents is how many events are printed before those that are followed.
const lastEvents = 10

// runEvents is the command events.
func runEvents(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("events", pflag.ContinueOnError)
	follow := flags.BoolP("follow", "f", false, "")
	since := flags.String("since", "", "")
	image := flags.String("image", "", "")
	asJSON := flags.Bool("json", false, "")
	file := flags.String("log", audit.DefaultFile, "")
	root := flags.String("root", "", "")
	if done, err := parse(flags, eventsUsage, args, stdout); done || err != nil {
		return err
	}
	p := eventPrinter{printer: printer{w: stdout}, raw: *asJSON, image: *image}
	if *since != "" {
		var err error
		if p.since, err = parseSince(*since, time.Now()); err != nil {
			return err
		}
	}
	path := filepath.Join(*root, *file)
	if !*follow && !audit.Exists(path) {
		return noLog(path, filepath.Join(*root, routesDir))
	}
	log := audit.Open(path)
	defer log.Close()
	if err := log.Next(p.add); err != nil {
		return err
	}
	if *follow && *since == "" {
		p.list = p.list[max(0, len(p.list)-lastEvents):]
	}
	if p.print(); !*follow {
		return p.err
	}
	return p.follow(ctx, log)
}

const routesDir = "/var/lib/mirrorcred/routes"

// noLog says what it means that there is no log.
func noLog(path, routes string) error {
	since := ""
	if info, err := os.Stat(routes); err == nil {
		since = " since its routes were last changed, at " + info.ModTime().Format(time.DateTime)
	}
	return fmt.Errorf("there is no %s: the kubelet has not run the plugin on this node%s, or with another --audit-log; run a pod with an image of a mirror, and see that the kubelet has the flags --image-credential-provider-config and --image-credential-provider-bin-dir", path, since)
}

// parseSince parses the value of --since.
func parseSince(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04", time.TimeOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("--since=%q is neither a duration nor a time; write one such as 10m, 15:04 or \"2006-01-02 15:04\"", text)
}

// An eventPrinter picks events and prints them.
type eventPrinter struct {
	printer
	raw    bool
	since  time.Time
	image  string
	list   []picked // not printed yet
	widths [5]int   // of all columns but the last
}

// A picked event is one line of the log.
type picked struct {
	line    string
	columns [6]string
}

// add takes a line of the log, where it is asked for.
func (p *eventPrinter) add(line []byte) error {
	e, ok := audit.Decode(line)
	if !ok || e.Time.Before(p.since) || !strings.Contains(e.Image, p.image) {
		return nil
	}
	one := picked{line: string(line)}
	if !p.raw {
		one.columns = columns(e)
	}
	p.list = append(p.list, one)
	return nil
}

// columns are what is printed of an event for a person.
func columns(e audit.Event) [6]string {
	var targets []string
	for _, t := range e.Targets {
		if t.Kept {
			t.Host += " (cached)"
		}
		targets = append(targets, t.Host)
	}
	ms := strconv.FormatFloat(time.Duration(e.Took).Seconds()*1000, 'f', 1, 64) + " ms"
	list := [6]string{e.Time.Local().Format("2006-01-02 15:04:05.000"), string(e.Outcome), e.Image, strings.Join(targets, ", "), ms, e.Reason}
	for i, text := range list {
		list[i] = strings.Map(visible, text)
		if i < len(list)-1 && text == "" {
			list[i] = "-"
		}
	}
	return list
}

// visible keeps a log that somebody wrote into from moving the cursor.
func visible(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// print prints what was added. Columns are as wide as the widest entry so far.
func (p *eventPrinter) print() {
	for _, one := range p.list {
		for i := range p.widths {
			p.widths[i] = max(p.widths[i], utf8.RuneCountInString(one.columns[i]))
		}
	}
	for _, one := range p.list {
		if p.raw {
			p.printf("%s\n", one.line)
			continue
		}
		c, w := one.columns, p.widths
		line := fmt.Sprintf("%-*s  %-*s  %-*s  %-*s  %*s  %s", w[0], c[0], w[1], c[1], w[2], c[2], w[3], c[3], w[4], c[4], c[5])
		p.printf("%s\n", strings.TrimRight(line, " "))
	}
	p.list = nil
}

// follow prints what comes until ctx ends, which is no error. The log is
// polled: an instance of inotify is worth more to a node than half a second is
// to a person.
func (p *eventPrinter) follow(ctx context.Context, log *audit.Log) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for p.err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := log.Next(p.add); err != nil {
			return errors.Join(err, p.err)
		}
		p.print()
	}
	return p.err
}
