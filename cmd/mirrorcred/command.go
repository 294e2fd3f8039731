package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A command is one command of the program.
type command struct {
	name  string
	usage string
	run   func(ctx context.Context, args []string, stdout io.Writer) error
}

// commands returns the commands in the order of the help.
func commands() []command {
	return []command{
		{"apply", applyUsage, runApply},
		{"watch", watchUsage, runWatch},
		{"deliver", deliverUsage, runDeliver},
		{"status", statusUsage, runStatus},
		{"units", unitsUsage, runUnits},
		{"plugin", pluginUsage, runPlugin},
		{"events", eventsUsage, runEvents},
		{"check", checkUsage, runCheck},
		{"explain", explainUsage, runExplain},
		{"import", importUsage, runImport},
		{"rbac", rbacUsage, runRBAC},
		{"pull", pullUsage, runPull},
		{"bootstrap", bootstrapUsage, runBootstrap},
		{"install", installUsage, runInstall},
		{"courier", courierUsage, runCourier},
		{"completion", completionUsage, runCompletion},
		{"version", versionUsage, runVersion},
		{"help", usage, runHelp},
	}
}

// find returns the command of a name.
func find(name string) (command, error) {
	all := commands()
	if i := slices.IndexFunc(all, func(c command) bool { return c.name == name }); i >= 0 {
		return all[i], nil
	}
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	if near, ok := nearest(name, names); ok {
		return command{}, fmt.Errorf("unknown command %q; did you mean %q?", name, near)
	}
	return command{}, fmt.Errorf("unknown command %q; the commands are %s", name, strings.Join(names, ", "))
}

// run runs one command. Flags may come before its name.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		_, err := io.WriteString(stdout, usage)
		return err
	}
	switch args[0] {
	case "-h", "--help":
		return runHelp(ctx, args[1:], stdout)
	case "--version":
		return runVersion(ctx, args[1:], stdout)
	}
	at := 0
	if strings.HasPrefix(args[0], "-") {
		at = slices.IndexFunc(args, func(arg string) bool {
			return slices.ContainsFunc(commands(), func(c command) bool { return c.name == arg })
		})
		if at < 0 {
			return errors.New("missing command; run \"mirrorcred --help\"")
		}
	}
	c, err := find(args[at])
	if err != nil {
		return err
	}
	return c.run(ctx, slices.Concat(args[:at], args[at+1:]), stdout)
}

// runHelp is the command help: the help of a command, or of the program.
func runHelp(_ context.Context, args []string, stdout io.Writer) error {
	text := usage
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		c, err := find(args[0])
		if err != nil {
			return err
		}
		text = c.usage
	}
	_, err := io.WriteString(stdout, text)
	return err
}

const versionUsage = `Usage: mirrorcred version [--json]

Prints the version of this program.

      --json  print it as JSON, with the commit and the Go that it was built with
  -h, --help  print this text

Example:
  mirrorcred version --json
`

// runVersion is the command version.
func runVersion(_ context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("version", pflag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	if done, err := parse(flags, versionUsage, args, stdout); done || err != nil {
		return err
	}
	if !*asJSON {
		_, err := fmt.Fprintf(stdout, "mirrorcred version %s\n", version)
		return err
	}
	built := struct {
		Version string `json:"version"`
		Commit  string `json:"commit,omitempty"` // "" if it was not built from a checkout
		Go      string `json:"go"`
		Target  string `json:"target"` // such as "linux/amd64"
	}{Version: version, Commit: commit, Go: runtime.Version(), Target: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && commit == "" {
				built.Commit = s.Value
			}
		}
	}
	return json.NewEncoder(stdout).Encode(built)
}

// wantsJSON reports whether a command line asks for JSON.
func wantsJSON(args []string) bool {
	for _, arg := range args {
		if arg == "--" {
			return false
		}
		if arg == "--json" || arg == "--json=true" {
			return true
		}
	}
	return false
}

// parse parses the flags of a command without arguments; true means that help was
// asked for and printed.
func parse(flags *pflag.FlagSet, usage string, args []string, stdout io.Writer) (bool, error) {
	done, err := parseFlags(flags, usage, args, stdout)
	if err == nil && !done && flags.NArg() > 0 {
		return false, fmt.Errorf("unexpected argument %q; run \"mirrorcred %s --help\"", flags.Arg(0), flags.Name())
	}
	return done, err
}

// parseFlags is parse for a command that takes arguments.
func parseFlags(flags *pflag.FlagSet, usage string, args []string, stdout io.Writer) (bool, error) {
	flags.Usage = func() {}
	flags.SetOutput(io.Discard)
	help := flags.BoolP("help", "h", false, "")
	if err := flags.Parse(args); err != nil {
		return false, fmt.Errorf("%s; run \"mirrorcred %s --help\" for the flags", flagFault(flags, err), flags.Name())
	}
	if *help {
		_, err := io.WriteString(stdout, usage)
		return true, err
	}
	return false, nil
}

// flagFault says what is wrong with a flag.
func flagFault(flags *pflag.FlagSet, err error) string {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if len(name) > 1 {
			if near, ok := nearest(name, flagNames(flags)); ok {
				return fmt.Sprintf("unknown flag --%s; did you mean --%s?", name, near)
			}
			return "unknown flag --" + name
		}
		return "unknown flag -" + name
	case errors.As(err, &value):
		kind := map[string]string{"duration": "a time such as 30s or 5m", "bool": "true or false", "int": "a number"}[value.GetFlag().Value.Type()]
		if kind == "" {
			kind = "another value"
		}
		return fmt.Sprintf("--%s=%s: write %s", value.GetFlag().Name, value.GetValue(), kind)
	case errors.As(err, &missing):
		return fmt.Sprintf("--%s needs a value", missing.GetFlag().Name)
	}
	return err.Error()
}

func flagNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// nearest returns the most similar name.
func nearest(name string, names []string) (string, bool) {
	for edits := 1; edits <= 2; edits++ {
		for _, one := range names {
			if isWithin(name, one, edits) {
				return one, true
			}
		}
	}
	return "", false
}

// isWithin reports whether b is a with at most edits letters added, removed or
// replaced.
func isWithin(a, b string, edits int) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	switch {
	case max(len(a), len(b)) <= edits:
		return true
	case edits == 0 || a == "" || b == "":
		return false
	}
	return isWithin(a[1:], b, edits-1) || isWithin(a, b[1:], edits-1) || isWithin(a[1:], b[1:], edits-1)
}
