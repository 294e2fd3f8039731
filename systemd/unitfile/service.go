// Package unitfile reads the service of another program as systemd does: its
// unit, its drop-ins and its environment files, down to the arguments that the
// program starts with. It also changes those arguments in an environment file.
//
// It is pure: the caller gives it access to the files of a node. It does not know what
// runs; package systemd asks the service manager. Start at [ReadCommand], or at
// [ReadService] and [SetWords] to change a service.
package unitfile

import (
	"fmt"
	"maps"
	"path"
	"strings"
)

// Files gives access to the files of a node, by their paths on it.
type Files interface {
	ReadFile(name string) ([]byte, error)
	// Glob returns what matches a pattern, as [path.Match] has it.
	Glob(pattern string) ([]string, error)
}

// A Command is the program that a service starts, with its arguments.
type Command struct {
	// Argv are the words of the last ExecStart, as the program gets them, with
	// the program first. It is empty if no file has one.
	Argv []string
	// Unset are the variables in it that neither the unit's files nor its environment
	// files set. They are empty in Argv, but the service manager may set them in
	// another way.
	Unset []string
}

// ReadCommand returns what a service starts, from its unit, its drop-ins and
// its environment files, as systemd 252 reads them. The error is
// [fs.ErrNotExist] if there is no such service, or if it is masked.
//
// A drop-in that cannot be read is ignored, as systemd does. So is an
// environment file that does not exist, although the service may not start
// without it.
func ReadCommand(files Files, name string) (Command, error) {
	if name == "" || strings.Contains(name, "/") {
		return Command{}, fmt.Errorf("%q is not the name of a unit", name)
	}
	s, err := read(files, name)
	if err != nil {
		return Command{}, err
	}
	return s.command(files)
}

// A service is what the files of a unit have set so far.
type service struct {
	name    string
	start   string // the last ExecStart as it is written
	startAt string // the file that has it
	starts  int    // how many there are since the list was emptied
	set     map[string]setting
	envFile []string // paths as they are written
	files   []string // those that count
	faults  []error  // of those that cannot be read
}

// A setting is the value of a variable, and the file that has it.
type setting struct{ value, file string }

// add adds the settings of one file, which override earlier ones. A setting without a
// value resets what was set before.
func (s *service) add(f file) {
	s.files = append(s.files, f.path)
	section := ""
	for line := range strings.Lines(joinLines(string(f.data))) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Service]" {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "ExecStart":
			s.start, s.startAt = value, f.path
			if s.starts++; value == "" {
				s.starts = 0
			}
		case "Environment":
			s.environment(value, f.path)
		case "EnvironmentFile":
			if value == "" {
				s.envFile = nil
				continue
			}
			s.envFile = append(s.envFile, value)
		}
	}
}

func (s *service) environment(value, at string) {
	if value == "" {
		s.set = map[string]setting{}
	}
	for _, word := range words(value, true) {
		text, err := s.specifiers(word)
		key, value, ok := strings.Cut(text, "=")
		if err == nil && ok && isVariable(key) {
			s.set[key] = setting{value, at}
		}
	}
}

// command makes the command from the settings. Environment files override the unit's
// own variables, whatever their order.
func (s *service) command(files Files) (Command, error) {
	set, err := s.environments(files)
	if err != nil {
		return Command{}, err
	}
	return s.expand(set)
}

// environments returns all variables, with the file that sets each last.
func (s *service) environments(files Files) (map[string]setting, error) {
	set := maps.Clone(s.set)
	for _, pattern := range s.envFile {
		list, err := s.environmentFiles(files, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range list {
			data, err := files.ReadFile(name)
			if s.fault(name, err); err != nil {
				continue
			}
			for key, value := range parseEnvironment(data) {
				set[key] = setting{value, name}
			}
		}
	}
	return set, nil
}

// environmentFiles returns the files that an EnvironmentFile= stands for.
func (s *service) environmentFiles(files Files, text string) ([]string, error) {
	pattern, err := s.specifiers(strings.TrimPrefix(text, "-"))
	if err != nil {
		return nil, err
	}
	list, err := files.Glob(pattern)
	if err != nil {
		return nil, nil // systemd finds nothing by that pattern either
	}
	return list, nil
}

// expand turns the words of ExecStart into those that the program gets.
func (s *service) expand(env map[string]setting) (Command, error) {
	list := words(s.start, true)
	if len(list) == 0 {
		return Command{}, nil
	}
	program := strings.TrimLeft(list[0], "@-:+!|")
	prefix := strings.TrimSuffix(list[0], program)
	list = list[1:]
	if strings.Contains(prefix, "@") && len(list) > 0 {
		list = list[1:] // the name that the program is told it has
	}
	c := Command{Argv: []string{program}}
	for _, word := range list {
		word, err := s.specifiers(word)
		switch {
		case err != nil:
			return Command{}, err
		case strings.Contains(prefix, ":"):
			c.Argv = append(c.Argv, word)
		default:
			c.Argv = append(c.Argv, c.variables(word, env)...)
		}
	}
	return c, nil
}

// specifiers expands the known specifiers: the unit's name, and a percent sign.
func (s *service) specifiers(word string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(word, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(after, "%"):
			b.WriteByte('%')
		case strings.HasPrefix(after, "n"):
			b.WriteString(s.name)
		case strings.HasPrefix(after, "N"), strings.HasPrefix(after, "p") && !strings.Contains(s.name, "@"):
			b.WriteString(strings.TrimSuffix(s.name, path.Ext(s.name)))
		default:
			return "", fmt.Errorf("unit %s: the specifier in %q is not supported", s.name, word)
		}
		word = after[1:]
	}
}
