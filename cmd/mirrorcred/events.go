package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

const eventsUsage = `Usage: mirrorcred events [FLAGS]

Shows the log of the credential plugin, a line for each run: when it was, its
outcome, the image and the target, how long it took, and why there was no
credential.

  -f, --follow           show the last 10 events, or those of --since, and then
                         new ones; waits for the log to appear
      --since WHEN       only events since then: 10m, 2h30m, 15:04,
                         "2006-01-02 15:04" or 2006-01-02T15:04:05Z
      --image SUBSTRING  only images with SUBSTRING in their name
      --json             print the lines as they are in the log
      --log FILE         the log, if the plugin runs with another --audit-log
                         (default /var/log/mirrorcred/plugin.jsonl below --root)
      --root DIR         all paths are below DIR
  -h, --help             print this text

OUTCOME is answered: the plugin returned a credential; empty: the image needs
none; refused: none may be returned, or the node is misconfigured; failed: the
plugin could not get one. (cached) marks a credential from the token cache.

Exit code: 0 there is a log, even an empty one; 1 there is none.

Example:
  mirrorcred events -f --since 1h --image mcr.microsoft.com/
`

// pollEvery is how often to poll a log that is followed.
const pollEvery = 500 * time.Millisecond

// lastEvents is how many events are printed before following.
const lastEvents = 10

// eventFlags are the flags of the command events.
type eventFlags struct {
	follow, asJSON           bool
	since, image, file, root string
}

// runEvents is the command events.
func runEvents(ctx context.Context, args []string, stdout io.Writer) error {
	var f eventFlags
	flags := pflag.NewFlagSet("events", pflag.ContinueOnError)
	flags.BoolVarP(&f.follow, "follow", "f", false, "")
	flags.StringVar(&f.since, "since", "", "")
	flags.StringVar(&f.image, "image", "", "")
	flags.BoolVar(&f.asJSON, "json", false, "")
	flags.StringVar(&f.file, "log", audit.DefaultFile, "")
	flags.String("root", "", "")
	if done, err := parse(flags, eventsUsage, args, stdout); done || err != nil {
		return err
	}
	var err error
	if f.root, err = rootFlag(flags); err != nil {
		return err
	}
	if f.follow {
		var stop func()
		ctx, stop = untilSignal(ctx)
		defer stop()
		context.AfterFunc(ctx, stop) // the next signal ends the program at once, even if a reader stalls
	}
	return f.run(ctx, stdout)
}

// run prints the events until there are no more, or until ctx ends.
func (f eventFlags) run(ctx context.Context, stdout io.Writer) error {
	p := eventPrinter{printer: printer{w: stdout}, raw: f.asJSON, image: f.image}
	if f.since != "" {
		var err error
		if p.since, err = parseSince(f.since, time.Now()); err != nil {
			return err
		}
	}
	tree := input.NewRoot(f.root)
	path := filepath.Join(f.root, f.file)
	if !f.follow && !audit.Exists(tree, path) {
		return noLog(path, tree, filepath.Join(f.root, routesDir))
	}
	log := audit.Open(tree, path)
	defer log.Close()
	if err := log.Next(p.add); err != nil {
		return err
	}
	if f.follow && f.since == "" {
		p.list = p.list[max(0, len(p.list)-lastEvents):]
	}
	if p.print(); !f.follow {
		return p.err
	}
	return p.follow(ctx, log)
}

const routesDir = "/var/lib/mirrorcred/routes"

// noLog says what a missing log means.
func noLog(path string, tree *input.Root, routes string) error {
	since := ""
	if info, err := tree.Stat(routes); err == nil {
		since = " since its routes were last changed, at " + info.ModTime().Format(time.DateTime)
	}
	return fmt.Errorf("%s does not exist: the kubelet has not run the plugin on this node%s, or runs it with another --audit-log; start a pod with an image of a mirror, and check that the kubelet has the flags --image-credential-provider-config and --image-credential-provider-bin-dir", path, since)
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
	return time.Time{}, fmt.Errorf("--since=%q is neither a duration nor a time; write it like 10m, 15:04 or \"2006-01-02 15:04\"", text)
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

// add adds a line of the log if it is wanted.
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

// columns are the columns of an event for a person.
func columns(e audit.Event) [6]string {
	var targets, why []string
	if e.Reason != "" {
		why = append(why, e.Reason)
	}
	for _, t := range e.Targets {
		if t.Cached {
			t.Host += " (cached)"
		}
		targets = append(targets, t.Host)
		if t.Note != "" {
			why = append(why, t.Note)
		}
	}
	ms := strconv.FormatFloat(time.Duration(e.Took).Seconds()*1000, 'f', 1, 64) + " ms"
	list := [6]string{e.Time.Local().Format("2006-01-02 15:04:05.000"), string(e.Outcome), e.Image, strings.Join(targets, ", "), ms, strings.Join(why, "; ")}
	for i, text := range list {
		list[i] = strings.Map(visible, text)
		if i < len(list)-1 && text == "" {
			list[i] = "-"
		}
	}
	return list
}

// visible keeps text in a log from moving the cursor.
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

// follow prints new events until ctx ends, which is not an error. It polls the log:
// inotify instances are scarce on a node, and half a second does not matter
// here.
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
