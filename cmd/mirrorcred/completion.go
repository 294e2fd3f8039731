package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const completionUsage = `Usage: mirrorcred completion bash|zsh|fish|man

Prints a script for a shell that completes the commands and their flags, or the
manual page. Both have the text of --help.

  -h, --help  print this text

Example:
  mirrorcred completion bash > /usr/share/bash-completion/completions/mirrorcred
  mirrorcred completion zsh > /usr/share/zsh/site-functions/_mirrorcred
  mirrorcred completion fish > /usr/share/fish/vendor_completions.d/mirrorcred.fish
  mirrorcred completion man > /usr/share/man/man1/mirrorcred.1
`

// runCompletion is the command completion.
func runCompletion(_ context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("completion", pflag.ContinueOnError)
	if done, err := parseFlags(flags, completionUsage, args, stdout); done || err != nil {
		return err
	}
	print, ok := map[string]func(io.Writer) error{
		"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion, "man": manual,
	}[flags.Arg(0)]
	if !ok || flags.NArg() != 1 {
		return errors.New("write bash, zsh, fish or man; run \"mirrorcred completion --help\"")
	}
	return print(stdout)
}

// A flagHelp is a flag as a help text has it.
type flagHelp struct {
	short, long string // without dashes; short may be ""
	value       string // such as "FILE", "" if it takes none
	text        string
}

var flagLine = regexp.MustCompile(`^ {2,6}(?:-(\w), )?--([a-z-]+)(?:[ =]([A-Z]+))?(?: {2,}(.*))?$`)

// flagsOf returns the flags in a command's help.
func flagsOf(c command) []flagHelp {
	var list []flagHelp
	open := false // whether the lines belong to a flag's text
	for line := range strings.Lines(c.usage) {
		line = strings.TrimRight(line, "\n")
		if m := flagLine.FindStringSubmatch(line); m != nil {
			list = append(list, flagHelp{m[1], m[2], m[3], m[4]})
			open = true
			continue
		}
		if open = open && strings.HasPrefix(line, "          "); open {
			last := &list[len(list)-1]
			last.text = strings.TrimSpace(last.text + " " + strings.TrimSpace(line))
		}
	}
	return list
}

// summaryOf returns the summary of a command in the program's help.
func summaryOf(name string) string {
	for line := range strings.Lines(usage) {
		if rest, ok := strings.CutPrefix(line, "  "+name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// words are the arguments of the commands that take one of a few words.
var words = map[string][]string{"bootstrap": {"bake", "join", "undo"}, "completion": {"bash", "zsh", "fish", "man"}}

// takesFile are the commands whose argument is a file or a directory.
var takesFile = []string{"import"}

func bashCompletion(w io.Writer) error {
	p := printer{w: w}
	p.printf("# bash completion for mirrorcred\n\n_mirrorcred() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= word\n")
	p.printf("\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase $word in\n\t\t-*) ;;\n\t\t%s) command=$word; break ;;\n\t\tesac\n\tdone\n", strings.Join(names(), "|"))
	p.printf("\tcase $prev in\n\t--root) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n\t--map|--socket) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n\tesac\n")
	p.printf("\tcase $command in\n\t'') COMPREPLY=($(compgen -W '%s --help --version' -- \"$cur\")) ;;\n", strings.Join(names(), " "))
	for _, c := range commands() {
		var list []string
		for _, f := range flagsOf(c) {
			list = append(list, "--"+f.long)
		}
		list = append(list, words[c.name]...)
		if c.name == "help" {
			list = names()
		}
		files := ""
		if slices.Contains(takesFile, c.name) {
			files = "; [[ $cur == -* ]] || COMPREPLY=($(compgen -f -- \"$cur\"))"
		}
		p.printf("\t%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\"))%s ;;\n", c.name, strings.Join(list, " "), files)
	}
	p.printf("\tesac\n}\ncomplete -F _mirrorcred mirrorcred\n")
	return p.err
}

func names() []string {
	var list []string
	for _, c := range commands() {
		list = append(list, c.name)
	}
	return list
}

// single quotes a text for a shell's single quotes.
func single(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }

func zshCompletion(w io.Writer) error {
	p := printer{w: w}
	p.printf("#compdef mirrorcred\n\n_mirrorcred() {\n\tlocal -a commands\n\tcommands=(\n")
	for _, name := range names() {
		p.printf("\t\t'%s:%s'\n", name, single(summaryOf(name)))
	}
	p.printf("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase $words[2] in\n")
	for _, c := range commands() {
		p.printf("\t%s)\n\t\t_arguments", c.name)
		for _, f := range flagsOf(c) {
			text := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace(f.text)
			value := map[string]string{"FILE": ":file:_files", "DIR": ":directory:_files -/", "": ""}
			action, ok := value[f.value]
			if !ok {
				action = ":" + strings.ToLower(f.value) + ":"
			}
			p.printf(" \\\n\t\t\t'--%s[%s]%s'", f.long, single(text), action)
		}
		switch {
		case words[c.name] != nil:
			p.printf(" \\\n\t\t\t'1:what:(%s)'", strings.Join(words[c.name], " "))
		case c.name == "help":
			p.printf(" \\\n\t\t\t'1:command:(%s)'", strings.Join(names(), " "))
		case slices.Contains(takesFile, c.name):
			p.printf(" \\\n\t\t\t'1:file:_files'")
		}
		p.printf("\n\t\t;;\n")
	}
	p.printf("\tesac\n}\n\n_mirrorcred \"$@\"\n")
	return p.err
}

func fishCompletion(w io.Writer) error {
	p := printer{w: w}
	p.printf("# fish completion for mirrorcred\ncomplete -c mirrorcred -f\n")
	fish := func(s string) string { return strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) }
	for _, name := range names() {
		p.printf("complete -c mirrorcred -n __fish_use_subcommand -a %s -d '%s'\n", name, fish(summaryOf(name)))
	}
	for _, c := range commands() {
		for _, f := range flagsOf(c) {
			p.printf("complete -c mirrorcred -n '__fish_seen_subcommand_from %s' -l %s", c.name, f.long)
			if f.short != "" {
				p.printf(" -s %s", f.short)
			}
			if f.value != "" {
				p.printf(" -r")
			}
			if f.value == "FILE" || f.value == "DIR" {
				p.printf(" -F")
			}
			p.printf(" -d '%s'\n", fish(f.text))
		}
		list := words[c.name]
		if c.name == "help" {
			list = names()
		}
		if list != nil {
			p.printf("complete -c mirrorcred -n '__fish_seen_subcommand_from %s' -a '%s'\n", c.name, strings.Join(list, " "))
		}
		if slices.Contains(takesFile, c.name) {
			p.printf("complete -c mirrorcred -n '__fish_seen_subcommand_from %s' -F\n", c.name)
		}
	}
	return p.err
}

// manual prints the manual page: the help texts, each command in a section.
func manual(w io.Writer) error {
	p := printer{w: w}
	p.printf(".TH MIRRORCRED 1 \"\" \"mirrorcred %s\"\n.SH NAME\nmirrorcred \\- one map for containerd's mirrors and the kubelet's credentials\n.SH SYNOPSIS\n.B mirrorcred\n.I COMMAND\n[FLAGS]\n.SH DESCRIPTION\n", roff(version))
	p.printf(".nf\n%s.fi\n", roff(usage[strings.Index(usage, "\n\n")+2:]))
	for _, c := range commands() {
		if c.name == "help" {
			continue
		}
		p.printf(".SH %s\n%s.\n.PP\n.nf\n%s.fi\n", strings.ToUpper(c.name), roff(capital(summaryOf(c.name))), roff(c.usage))
	}
	p.printf(".SH FILES\n.TP\n/etc/mirrorcred/mirrors.toml\nThe mirror map.\n.TP\n/var/lib/mirrorcred\nWhat the manager remembers, and what the plugin may answer.\n")
	return p.err
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// roff escapes a text for a manual page.
func roff(s string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)) {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			b.WriteString(`\&`)
		}
		b.WriteString(line)
	}
	return b.String()
}
