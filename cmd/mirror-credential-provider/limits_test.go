//go:build linux

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// limited returns a command behind a limit of the shell's ulimit.
func limited(t *testing.T, cmd *exec.Cmd, flag string, value int) *exec.Cmd {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "sh", append([]string{"-c", fmt.Sprintf("ulimit %s %d && exec \"$0\" \"$@\"", flag, value), cmd.Path}, cmd.Args[1:]...)...)
	shell.Env = cmd.Env
	return shell
}

// TestFewDescriptors runs the program with as few file descriptors as possible. Until
// there are enough, it ends with one line that names the remedy, and not with a stack
// trace of Go's.
func TestFewDescriptors(t *testing.T) {
	const others = toFoo + "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"harbor.corp/hub\"]\n" +
		"[[mirror]]\nsource = \"ghcr.io\"\ntargets = [\"exec.corp/hub\"]\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"mirror.example\"]\n" +
		"[registry.\"harbor.corp\"]\ncredential = \"file\"\n[credential.file]\nkind = \"docker-config\"\npath = \"/config.json\"\n" +
		"[registry.\"exec.corp\"]\ncredential = \"program\"\n[credential.program]\nkind = \"exec\"\ncommand = \"/bin/other\"\n"
	cloud, _ := startCloud(t, "foo.azurecr.io")
	n := plant(t, others)
	writeFile(t, n.root, mirror.DefaultAzureConfig, configs["managed"])
	if err := os.Chmod(writeFile(t, n.root, "/config.json", `{"auths":{"harbor.corp":{"username":"u","password":"p"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	writeProgram(t, n.root, "/bin/other", "#!/bin/sh\necho '"+head+`"Image","cacheDuration":"0s","auth":{"exec.corp":{"username":"u","password":"p"}}}`+"'\n")
	for _, image := range []string{mcrImage, "docker.io/library/x", "ghcr.io/x", "quay.io/x", "nowhere.example/x"} {
		works := 0
		for descriptors := 0; descriptors <= 32; descriptors++ {
			cmd := command(t, cloud, names[0], fromRoute, "--token-cache=", "--root="+n.root)
			got := finishAs(t, limited(t, cmd, "-n", descriptors), names[0], request(image))
			switch {
			case got.code == 0 && works == 0:
				works = descriptors
			case got.code == 0:
			case descriptors == 32:
				t.Errorf("%s with %d descriptors: %s", image, descriptors, got.stderr)
			case !strings.Contains(got.stderr, "too many open files") || !strings.Contains(got.stderr, "LimitNOFILE=") || strings.Contains(got.stderr, "mirrorcred apply"):
				t.Errorf("%s with %d descriptors: %s", image, descriptors, got.stderr)
			}
		}
		t.Logf("%s: it needs %d descriptors", image, works)
	}
}

// TestLittleMemory has the program run with little address space, and little data:
// it ends with one line, unless Go's runtime cannot even start.
func TestLittleMemory(t *testing.T) {
	cloud, _ := startCloud(t, "foo.azurecr.io")
	n := plant(t, toFoo)
	writeFile(t, n.root, mirror.DefaultAzureConfig, configs["managed"])
	for _, one := range []struct {
		flag           string
		from, to, step int // MiB
		said           string
	}{
		{"-v", 640, 960, 8, "address space (RLIMIT_AS)"},
		{"-d", 8, 400, 8, "data (RLIMIT_DATA)"},
	} {
		said, answered, unstarted := 0, 0, 0
		for mib := one.from; mib < one.to; mib += one.step {
			cmd := limited(t, command(t, cloud, names[0], fromRoute, "--token-cache=", "--root="+n.root), one.flag, mib<<10)
			cmd.Stdin = strings.NewReader(request(mcrImage))
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run()
			text := stderr.String()
			switch code := cmd.ProcessState.ExitCode(); {
			case code == 0 && text == "" && strings.Contains(stdout.String(), `"auth"`):
				answered++
			case code == 1 && stdout.Len() == 0 && strings.Count(text, "\n") == 1 && strings.HasSuffix(text, "\n") && strings.Contains(text, one.said):
				said++
			case stdout.Len() == 0 && !strings.Contains(text, "main.main") && !strings.Contains(text, "mirrorcred/cmd/internal/plugin."):
				unstarted++
			case stdout.Len() == 0 && strings.Contains(text, "cannot allocate memory") && strings.Contains(text, "plugin.checkRoom("):
				unstarted++ // it started with too little left to say so
			default:
				t.Errorf("ulimit %s with %d MiB: %v, %q\n%s", one.flag, mib, cmd.ProcessState, stdout.String(), text)
			}
		}
		t.Logf("ulimit %s: the runtime did not start %d times, it said why %d times, and it answered %d times", one.flag, unstarted, said, answered)
		if said == 0 || answered == 0 {
			t.Errorf("ulimit %s: it said why %d times, and answered %d times", one.flag, said, answered)
		}
	}
}
