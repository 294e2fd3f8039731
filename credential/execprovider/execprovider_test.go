//go:build unix

package execprovider

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

const canary = "c4nary-Secret"

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// ourselves returns the source that asks the test binary.
func ourselves(t *testing.T, mode string, args ...string) *Source {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{modeVar + "=" + mode, "MORE=more", "API_KEY=" + canary,
		"GORACE=atexit_sleep_ms=0"} // the race detector's pause at the end, 1 s
	s, err := New(Options{Command: self, Args: args, Env: env, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCredential(t *testing.T) {
	query := credential.Query{Image: "a.io/team/x", ServiceAccountToken: canary, ServiceAccountAnnotations: map[string]string{"k": "v"}}
	c, err := ourselves(t, "echo", "--one", "two").Credential(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	want := credential.Credential{Username: "--one two a.io/team/x v more", Password: canary, Expires: noon.Add(5 * time.Minute)}
	if c != want {
		t.Errorf("Credential = %q, %q, %s; want %q, the token, %s", c.Username, c.Password.Reveal(), c.Expires, want.Username, want.Expires)
	}
	c, err = ourselves(t, "echo").Credential(t.Context(), credential.Query{Image: "registry-1.docker.io/library/x"})
	if want := "docker.io/library/x  more"; err != nil || c.Username != want || c.Password != "" {
		t.Errorf("Credential = %q, %v; want %q", c.Username, err, want)
	}
}

func TestCredentialByAnswer(t *testing.T) {
	for _, tt := range []struct{ printed, want string }{
		{answer(`{"a.io":{"username":"u","password":"p"}}`), "u"},
		{answer(`{"a.io":{"username":"host","password":"p"},"a.io/team":{"username":"team","password":"p"}}`), "team"},
		{answer(`{"*.io":{"username":"","password":""}}`), "anonymous"},
		{answer(`{}`), "it has no credential for that image; check"},
		{answer(`null`), "it has no credential for that image; check"},
		{answer(`{"b.io":{"username":"u","password":"` + canary + `"}}`), "none of the keys"},
		{answer(`{"a.io":{"username":"u","password":"`+canary+`"}}`) + canary, "not one JSON object"},
		{answer(`{"a.io":{"username":"u","secret":"` + canary + `"}}`), "nothing else"},
		{strings.Replace(answer(`{}`), "/v1", "/v1alpha1", 1), `apiVersion "credentialprovider.kubelet.k8s.io/v1alpha1"`},
		{strings.Replace(answer(`{}`), "Image", canary[:6], 1), `cacheKeyType "c4nary"`},
		{canary, "not one JSON object"},
		{"", "the answer is empty"},
	} {
		s := ourselves(t, "print:"+tt.printed)
		c, err := s.Credential(t.Context(), credential.Query{Image: "a.io/team/x"})
		got := c.Username
		switch {
		case err != nil:
			got = err.Error()
		case c.Anonymous():
			got = "anonymous"
		}
		if err == nil && got != tt.want || !strings.Contains(got, tt.want) {
			t.Errorf("answer %s: %s; want %s", tt.printed, got, tt.want)
		}
		checkSecret(t, err, s, *s, c)
	}
}

func TestCacheDuration(t *testing.T) {
	for duration, want := range map[string]time.Time{
		`"5m0s"`: noon.Add(5 * time.Minute),
		`"0s"`:   {},
		`"-1s"`:  {},
		`null`:   {},
	} {
		printed := strings.Replace(answer(`{"a.io":{"username":"u","password":"p"}}`), `"5m0s"`, duration, 1)
		c, err := ourselves(t, "print:"+printed).Credential(t.Context(), credential.Query{Image: "a.io/x"})
		if err != nil || !c.Expires.Equal(want) {
			t.Errorf("cacheDuration %s: expires %s, %v; want %s", duration, c.Expires, err, want)
		}
	}
}

func TestFailure(t *testing.T) {
	for said, want := range map[string]string{
		"":                                      "exit status 3; it gave no reason; run it by hand",
		"one\n\ntwo\nthree\nfour\n":             "exit status 3: two / three / four",
		"bad\x1b[31m\ttoken " + canary + "!\n":  "exit status 3: bad [31m token [secret]!",
		"got eyJhbGciOiJSUzI1NiIs.eyJzdWIiOi1x": "exit status 3: got [secret]",
		"id 6f1c0e9a-33b1-4c5e-9d1a-0242ac120002 AADSTS700016 at /var/lib/x": "id 6f1c0e9a-33b1-4c5e-9d1a-0242ac120002 AADSTS700016 at /var/lib/x",
		strings.Repeat("long ", 1000) + "end":                                "…",
	} {
		s := ourselves(t, "fail:"+said)
		_, err := s.Credential(t.Context(), credential.Query{Image: "a.io/x", ServiceAccountToken: canary})
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 600 || strings.Contains(err.Error(), "\n") {
			t.Errorf("stderr %q: %v; want %s", said, err, want)
		}
		checkSecret(t, err, s, *s)
	}
	_, err := ourselves(t, "flood").Credential(t.Context(), credential.Query{Image: "a.io/x"})
	if want := "printed more than 1048576 bytes"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("flood: %v; want %s", err, want)
	}
}

func TestNotStarted(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for command, want := range map[string]string{
		filepath.Join(dir, "missing"):        `missing" does not exist; install it`,
		dir:                                  "is a directory",
		write("plain", "#!/bin/sh\n", 0o644): "permission denied; chmod 0755 " + dir + "/plain",
		write("script", "#!/no/such/interpreter\n", 0o755): "the interpreter or loader",
		write("foreign", "\x7fELF for another one", 0o755): "install a build for this system",
	} {
		s, err := New(Options{Command: command})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Credential(t.Context(), credential.Query{Image: "a.io/x"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "fork/exec") > 0 {
			t.Errorf("%s: %v; want %s", command, err, want)
		}
	}
	if _, err := New(Options{Command: "provider"}); err == nil || !strings.Contains(err.Error(), "not an absolute path; write one") {
		t.Errorf("New(provider) = %v; want that it is not absolute", err)
	}
}

// TestHang checks that a provider that never answers ends with the context, and
// so does what it started: only then does the named pipe end.
func TestHang(t *testing.T) {
	fifo := makeFifo(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := ourselves(t, "hang:"+fifo).Credential(ctx, credential.Query{Image: "a.io/x"})
		failed <- err
	}()
	pipe, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	lines := bufio.NewReader(pipe)
	for range 2 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "and was stopped") {
		t.Errorf("Credential = %v; want that it was stopped", err)
	}
	if _, err := io.ReadAll(lines); err != nil {
		t.Error(err)
	}
	_, err = ourselves(t, "echo").Credential(ctx, credential.Query{Image: "a.io/x"})
	if err == nil || !strings.Contains(err.Error(), "was not started") {
		t.Errorf("Credential with no time left = %v; want that it was not started", err)
	}
}

// TestAnswerOfProviderThatLeavesAChild checks that a provider's answer is taken although a program that it
// left running has its standard output open.
func TestAnswerOfProviderThatLeavesAChild(t *testing.T) {
	fifo := makeFifo(t)
	type result struct {
		c   credential.Credential
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := ourselves(t, "leave:"+fifo).Credential(t.Context(), credential.Query{Image: "a.io/x"})
		done <- result{c, err}
	}()
	pipe, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	lines := bufio.NewReader(pipe)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.err != nil || got.c.Username != "u" {
		t.Errorf("Credential = %q, %v; want u", got.c.Username, got.err)
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
		t.Errorf("the program that was left is gone: %v", err)
	}
	if _, err := io.ReadAll(lines); err != nil {
		t.Error(err)
	}
}

func makeFifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkSecret(t *testing.T, values ...any) {
	t.Helper()
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if shown := fmt.Sprintf(verb, v); strings.Contains(shown, canary) {
				t.Errorf("%s of %T shows a secret: %s", verb, v, shown)
			}
		}
	}
}

// TestFailureOfClosedMap has a provider repeat its environment and its arguments:
// from a map that is closed to others, all of them may be secrets.
func TestFailureOfClosedMap(t *testing.T) {
	for closed, want := range map[bool]string{true: "exit status 3: in [secret] with [secret]", false: "exit status 3: in region-one with --profile=blue"} {
		s := ourselves(t, "fail:in region-one with --profile=blue")
		s.options.Env = append(s.options.Env, "REGION=region-one")
		s.options.Args, s.options.Closed = append(s.options.Args, "--profile=blue"), closed
		_, err := s.Credential(t.Context(), credential.Query{Image: "a.io/x"})
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("closed %v: %v; want %s", closed, err, want)
		}
		// What is remembered of a failure has nothing that the program said.
		var brief interface{ Brief() string }
		if !errors.As(err, &brief) || !strings.HasSuffix(brief.Brief(), "exit status 3") {
			t.Errorf("closed %v: %v has no brief form without the program's words", closed, err)
		}
	}
}
