package unitfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Service is a service together with the origin of its command, for a caller that
// wants to change it.
type Service struct {
	Command
	// Name is the unit's, such as "kubelet.service".
	Name string
	// Files are the unit's file and its drop-ins, in the order in which they
	// are read.
	Files []string
	// Start is the last ExecStart as it is written, and StartFile the file with it.
	Start, StartFile string
	// Starts is how many ExecStart lines count.
	Starts int
	// Variables are the variables of ExecStart that are split into words ("$A" as a
	// whole word), in order.
	Variables []Variable
	// EnvironmentFiles are those that the unit names, in order, whether they exist or
	// not. Patterns are not expanded.
	EnvironmentFiles []string
}

// A Variable is a variable in a command.
type Variable struct {
	Name string
	// File is the last file that sets it; "" if no file does. InUnit says that this is
	// a unit's file or a drop-in, rather than an environment file.
	File   string
	InUnit bool
}

// ReadService is [ReadCommand] for a caller that changes the service, so that a
// file that exists but cannot be read is an error.
func ReadService(files Files, name string) (*Service, error) {
	if name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q is not the name of a unit", name)
	}
	s, err := read(files, name)
	if len(s.faults) > 0 {
		return nil, errors.Join(s.faults...)
	}
	if err != nil {
		return nil, err
	}
	out := &Service{Name: name, Files: s.files, Start: s.start, StartFile: s.startAt, Starts: s.starts}
	set, err := s.environments(files)
	if err == nil {
		out.Command, err = s.expand(set)
	}
	if err := errors.Join(append(s.faults, err)...); err != nil {
		return nil, err
	}
	for _, text := range s.envFile {
		pattern, err := s.specifiers(strings.TrimPrefix(text, "-"))
		if err != nil {
			return nil, err
		}
		out.EnvironmentFiles = append(out.EnvironmentFiles, pattern)
	}
	out.Variables = s.variables(set)
	return out, nil
}

// variables returns those of ExecStart that are split.
func (s *service) variables(set map[string]setting) []Variable {
	var list []Variable
	command := words(s.start, true)
	if len(command) == 0 || strings.Contains(command[0][:len(command[0])-len(strings.TrimLeft(command[0], "@-:+!|"))], ":") {
		return nil // a colon keeps variables as they are written
	}
	for _, word := range command[1:] {
		name, ok := strings.CutPrefix(word, "$")
		if !ok || !isVariable(name) {
			continue
		}
		v := Variable{Name: name, File: set[name].file}
		v.InUnit = slices.Contains(s.files, v.File)
		list = append(list, v)
	}
	return list
}
