// Package process decides whether a process is the node's own.
//
// A name proves nothing: any user can run a program named kubelet, with any
// arguments. So a process counts only by facts that root alone can set and that
// the kernel shows to a program without capabilities: its user ids, its PID
// namespace, its control group and its root file system ([Table.Judge]). In a
// container, the node's processes are hidden; [Table.Blind] says so, because
// "none found" then proves nothing.
//
// The package does not know what a process does, and runs nothing. Start at
// [Proc].
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Table is a /proc.
type Table struct {
	dir  string
	self string // the entry of this process
}

// Proc is the table of this machine.
var Proc = Table{"/proc", "self"}

// A Process is what the kernel reports about a running process.
type Process struct {
	PID     int
	Name    string        // its comm, which it chooses itself
	Args    []string      // its arguments, which it can change too
	Started time.Duration // since boot
	// Unit is the systemd service that it belongs to, or "".
	Unit string
}

// Find returns the node's own processes whose name is one of names, in the order
// of their numbers. unknown says why another one may also be the node's, "" if
// none may. A process that ends meanwhile is left out.
//
// Of another user's process it reads no more than [Table.Judge] needs. The
// arguments may be megabytes, in memory that the process supplies itself, so
// that reading them could hang.
func (t Table) Find(names ...string) (own []Process, unknown string, err error) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return nil, "", err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid <= 0 {
			continue
		}
		name, err := t.read(pid, "comm")
		if err != nil || !slices.Contains(names, trimName(name)) {
			continue
		}
		v, err := t.Judge(pid)
		var p Process
		if err == nil && v.Owner == Node {
			p, err = t.process(pid)
		}
		switch {
		case gone(err):
		case err != nil:
			return nil, "", err
		case v.Owner == Node:
			own = append(own, p)
		case v.Owner == Unknown:
			unknown = v.Reason
		}
	}
	slices.SortFunc(own, func(a, b Process) int { return a.PID - b.PID })
	return own, unknown, nil
}

// process returns a process. The error is [fs.ErrNotExist] if it has ended.
func (t Table) process(pid int) (Process, error) {
	var text [4][]byte
	for i, file := range []string{"comm", "stat", "cmdline", "cgroup"} {
		data, err := t.read(pid, file)
		if gone(err) {
			return Process{}, fmt.Errorf("process %d has ended: %w", pid, fs.ErrNotExist)
		}
		if err != nil && file != "cgroup" { // some kernels have none
			return Process{}, err
		}
		text[i] = data
	}
	started, ok := startTime(text[1])
	if !ok {
		return Process{}, fmt.Errorf("process %d: its stat in %s cannot be read", pid, t.dir)
	}
	args := strings.Split(strings.TrimSuffix(string(text[2]), "\x00"), "\x00")
	return Process{pid, trimName(text[0]), args, started, UnitOf(text[3])}, nil
}

// Environment returns the environment that a process was started with, as
// NAME=value. Only who may trace the process can read it. Call it for the node's
// own processes only: it may hold secrets.
func (t Table) Environment(pid int) ([]string, error) {
	data, err := t.read(pid, "environ")
	if err != nil {
		return nil, err
	}
	list := []string{}
	for entry := range strings.SplitSeq(string(data), "\x00") {
		if strings.Contains(entry, "=") {
			list = append(list, entry)
		}
	}
	return list, nil
}

func (t Table) read(pid int, file string) ([]byte, error) {
	return t.readEntry(strconv.Itoa(pid), file)
}

// readEntry is read for an entry that may be "self".
func (t Table) readEntry(entry, file string) ([]byte, error) {
	return input.ReadFile(filepath.Join(t.dir, entry, file), 0)
}

func trimName(comm []byte) string { return strings.TrimSuffix(string(comm), "\n") }

// gone reports whether an error says that a process has ended.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// startTime reads field 22 of /proc/PID/stat (proc_pid_stat(5)): the start in
// clock ticks since boot, 100 per second in user space.
func startTime(stat []byte) (time.Duration, bool) {
	// The name in parentheses may hold spaces and parentheses.
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	return time.Duration(ticks) * 10 * time.Millisecond, err == nil
}

// UnitOf returns the service of a process from its /proc/PID/cgroup
// (cgroups(7)), or "". systemd has its cgroups in the hierarchy of version 2
// or, under its name, in one of version 1.
func UnitOf(groups []byte) string {
	for line := range strings.Lines(string(groups)) {
		field := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(field) < 3 || field[1] != "" && field[1] != "name=systemd" {
			continue
		}
		// A unit is below slices, and everything below it belongs to it.
		for name := range strings.SplitSeq(strings.Trim(field[2], "/"), "/") {
			if strings.HasSuffix(name, ".service") {
				return name
			}
			if !strings.HasSuffix(name, ".slice") {
				break
			}
		}
	}
	return ""
}
