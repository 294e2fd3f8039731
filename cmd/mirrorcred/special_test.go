package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A special is something that is not a file, or too much of one.
type special struct {
	kind string // as a message has it
	make func(path string) error
}

var specials = []special{
	{"a FIFO", func(path string) error { return unix.Mkfifo(path, 0o600) }},
	{"a socket", func(path string) error {
		// The path of a socket is short.
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		defer os.Chdir(here)
		if err := os.Chdir(filepath.Dir(path)); err != nil {
			return err
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Base(path)})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return l.Close()
	}},
	{"a device", func(path string) error {
		const zero = 1<<8 | 5
		return unix.Mknod(path, unix.S_IFCHR|0o600, zero)
	}},
	{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
	{"larger than 8 MiB", func(path string) error {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		return os.Truncate(path, 8<<20+1)
	}},
}

// within runs the program and fails the test if it waits for something.
func (r rooted) within(args ...string) (string, error) {
	r.Helper()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		var out bytes.Buffer
		err := run(context.Background(), append(args, "--root", r.root), &out)
		done <- result{out.String(), err}
	}()
	select {
	case got := <-done:
		return got.out, got.err
	case <-time.After(30 * time.Second):
		r.Fatal("it waits")
		return "", nil
	}
}

// TestSpecialFiles checks that what is not a file is named, in each place that is read,
// and that nothing waits for it: the lock is given back.
func TestSpecialFiles(t *testing.T) {
	for path, fatal := range map[string]bool{
		"etc/mirrorcred/mirrors.toml":                            true,
		"etc/mirrorcred/header":                                  false, // a fault of its sources alone
		"etc/containerd/config.toml":                             true,
		"etc/containerd/conf.d/x.toml":                           true,
		"var/lib/kubelet/credential-provider-config.yaml":        true,
		"var/lib/mirrorcred/state.json":                          true,
		"var/lib/kubelet/credential-provider-config.yaml/x.yaml": true,
		"var/lib/mirrorcred/routes/docker.io.json":               true,
		"var/lib/mirrorcred/lock":                                true,
		"etc/containerd/certs.d/docker.io/hosts.toml":            false, // a conflict of that source
		"etc/mirrorcred/ca.pem":                                  false, // a fault of that source
		"etc/mirrorcred/harbor.json":                             false, // a warning, as is the next
		"etc/kubernetes/azure.json":                              false,
	} {
		for _, s := range specials {
			t.Run(path+"/"+s.kind, func(t *testing.T) {
				switch {
				case path == "var/lib/kubelet/credential-provider-config.yaml" && s.kind == "a directory":
					t.Skip("it may be one")
				case strings.HasSuffix(path, "/x.yaml") && s.kind == "a directory":
					t.Skip("the kubelet passes over it")
				case strings.HasPrefix(path, "var/lib/mirrorcred/routes/") && s.kind != "a directory":
					t.Skip("what is not a route there is removed")
				case path == "var/lib/mirrorcred/lock" && s.kind == "larger than 8 MiB":
					t.Skip("it is not read")
				}
				r := newRooted(t)
				r.write("root/etc/containerd/config.toml", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
				r.write("root/etc/mirrorcred/mirrors.toml", everything+"[registry.\"inside.azurecr.io\"]\nca = \"/etc/mirrorcred/ca.pem\"\n")
				at := filepath.Join(r.root, path)
				r.must(os.RemoveAll(at))
				r.must(os.MkdirAll(filepath.Dir(at), 0o755))
				if err := s.make(at); errors.Is(err, unix.EPERM) {
					t.Skip(err)
				} else if err != nil {
					t.Fatal(err)
				}
				out, err := r.within("apply")
				text := out
				if err != nil {
					text += err.Error()
				}
				named := strings.TrimPrefix(at, map[bool]string{false: r.root}[fatal])
				inIt := filepath.Dir(named) + ": " + filepath.Base(named) + " in it"
				if !strings.Contains(text, named) && !strings.Contains(text, inIt) {
					t.Errorf("it does not name the file: %v\n%s", err, text)
				}
				if !strings.Contains(text, s.kind) && path != "var/lib/mirrorcred/lock" {
					t.Errorf("it does not say that it is %s: %v\n%s", s.kind, err, text)
				}
				var code exit
				if fatal && (err == nil || errors.As(err, &code)) {
					t.Errorf("it ends with %v\n%s", err, text)
				}
				r.checkUnlocked()
			})
		}
	}
}

// checkUnlocked fails if the lock was not given back.
func (r rooted) checkUnlocked() {
	r.Helper()
	f, err := os.OpenFile(filepath.Join(r.root, "var/lib/mirrorcred/lock"), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return // it is the special one
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		r.Errorf("the lock is not given back: %v", err)
	}
}

// A directory of imports that is full of FIFOs, each with a program that has it
// open for writing.
func TestManyFIFOs(t *testing.T) {
	r := newRooted(t)
	r.write("root/etc/containerd/config.toml", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
	dir := filepath.Join(r.root, "etc/containerd/conf.d")
	r.must(os.MkdirAll(dir, 0o755))
	for i := range 100 {
		path := filepath.Join(dir, fmt.Sprintf("%d.toml", i))
		r.must(unix.Mkfifo(path, 0o600))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		r.must(err)
		defer f.Close()
	}
	if out, err := r.within("apply"); err == nil || !strings.Contains(err.Error(), "/etc/containerd/conf.d/0.toml: this is a FIFO, not a file") {
		t.Errorf("apply: %v\n%s", err, out)
	}
	r.checkUnlocked()
}
