package grid

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Puller is the puller of one version of containerd, which runs.
type Puller struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr strings.Builder
}

// A pull is what a puller is asked for. See build/testdata/puller.
type pull struct {
	HostsDir string `json:"hosts_dir"`
	Image    string `json:"image"`
	Transfer bool   `json:"transfer"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// StartPuller starts the puller in a directory that build.Puller returned. It
// trusts the certificates in the file ca.
func StartPuller(dir, ca string) (*Puller, error) {
	p := &Puller{cmd: exec.Command(filepath.Join(dir, "puller"))}
	p.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+ca, "SSL_CERT_DIR=/nowhere", "HTTPS_PROXY=", "HTTP_PROXY=", "https_proxy=", "http_proxy=")
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// Stop ends the puller.
func (p *Puller) Stop() {
	p.in.Close()
	p.cmd.Wait()
}

// Pull pulls, and returns why the pull failed. err is a fault of the puller itself.
func (p *Puller) Pull(one pull) (failed, err error) {
	data, err := json.Marshal(one)
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(data, '\n')); err != nil {
		return nil, fmt.Errorf("%w: %s", err, p.stderr.String())
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, p.stderr.String())
	}
	var end struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(line, &end); err != nil {
		return nil, err
	}
	if end.Error != "" {
		failed = errors.New(end.Error)
	}
	return failed, nil
}
