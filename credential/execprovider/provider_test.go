//go:build linux

package execprovider

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
)

// modeVar makes the test binary a credential provider; what it is set to says
// how that one behaves.
const modeVar = "EXECPROVIDER_TEST_MODE"

func TestMain(m *testing.M) {
	if mode, ok := os.LookupEnv(modeVar); ok {
		os.Exit(provider(mode))
	}
	os.Exit(m.Run())
}

// provider is a credential provider that behaves as mode says.
func provider(mode string) int {
	mode, rest, _ := strings.Cut(mode, ":")
	switch mode {
	case "echo": // the request's parts, as the credential
		data, _ := io.ReadAll(os.Stdin)
		r, err := credential.DecodeRequest(data)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Stdout.WriteString(answer(fmt.Sprintf(`{"*.*":{"username":%q,"password":%q}}`,
			strings.Join(append(os.Args[1:], r.Image, r.ServiceAccountAnnotations["k"], os.Getenv("MORE")), " "), r.ServiceAccountToken.Reveal())))
	case "print":
		os.Stdout.WriteString(rest)
	case "flood":
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
				return 0
			}
		}
	case "fail":
		os.Stdout.WriteString(answer(`{"a.io":{"username":"u","password":"` + canary + `"}}`))
		os.Stderr.WriteString(rest)
		return 3
	case "hang": // and so does a program that it starts
		leave("hold:" + rest)
		hold(rest)
	case "leave": // a good answer, and a program that holds the pipe
		os.Stdout.WriteString(answer(`{"a.io":{"username":"u","password":"p"}}`))
		leave("hold:" + rest)
	case "hold":
		hold(rest)
	}
	return 0
}

// answer is a response with the given auth.
func answer(auth string) string {
	return `{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","cacheDuration":"5m0s","auth":` + auth + `}`
}

// leave starts a provider with this one's standard output and does not wait
// for it.
func leave(mode string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), modeVar+"="+mode)
	cmd.Stdout = os.Stdout
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}

// hold says over the named pipe that it is there, and stays until it is
// interrupted or killed.
func hold(fifo string) {
	pipe, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	fmt.Fprintln(pipe, os.Getpid())
	<-interrupted
	pipe.Close()
}
