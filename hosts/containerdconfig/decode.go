package containerdconfig

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	early "github.com/pelletier/go-toml"
	"github.com/pelletier/go-toml/v2"
)

// A file is one configuration file, decoded by the library of its line.
type file struct {
	path    string
	data    []byte
	lines   lines
	version int // 0 if it names none

	imports, disabled, required []string
	timeouts                    map[string]string

	plugins map[string]*node      // for 2.x
	trees   map[string]early.Tree // for 1.x
}

// settings are a file's keys outside of plugins. Those that do not matter here
// are decoded too, because containerd does not start if one has the wrong type.
type settings[Plugin any] struct {
	Version         int               `toml:"version"`
	Root            string            `toml:"root"`
	State           string            `toml:"state"`
	Temp            string            `toml:"temp"`
	DisabledPlugins []string          `toml:"disabled_plugins"`
	RequiredPlugins []string          `toml:"required_plugins"`
	Plugins         map[string]Plugin `toml:"plugins"`
	OOMScore        int               `toml:"oom_score"`
	Timeouts        map[string]string `toml:"timeouts"`
	Imports         []string          `toml:"imports"`

	GRPC struct {
		Address    string `toml:"address"`
		TCPAddress string `toml:"tcp_address"`
		TCPTLSCA   string `toml:"tcp_tls_ca"`
		TCPTLSCert string `toml:"tcp_tls_cert"`
		TCPTLSKey  string `toml:"tcp_tls_key"`
		UID        int    `toml:"uid"`
		GID        int    `toml:"gid"`
		MaxRecv    int    `toml:"max_recv_message_size"`
		MaxSend    int    `toml:"max_send_message_size"`
	} `toml:"grpc"`
	TTRPC struct {
		Address string `toml:"address"`
		UID     int    `toml:"uid"`
		GID     int    `toml:"gid"`
	} `toml:"ttrpc"`
	Debug struct {
		Address string `toml:"address"`
		UID     int    `toml:"uid"`
		GID     int    `toml:"gid"`
		Level   string `toml:"level"`
		Format  string `toml:"format"`
	} `toml:"debug"`
	Metrics struct {
		Address       string `toml:"address"`
		GRPCHistogram bool   `toml:"grpc_histogram"`
	} `toml:"metrics"`
	Cgroup struct {
		Path string `toml:"path"`
	} `toml:"cgroup"`
	ProxyPlugins map[string]struct {
		Type         string            `toml:"type"`
		Address      string            `toml:"address"`
		Platform     string            `toml:"platform"`
		Exports      map[string]string `toml:"exports"`
		Capabilities []string          `toml:"capabilities"`
	} `toml:"proxy_plugins"`
	StreamProcessors map[string]struct {
		Accepts []string `toml:"accepts"`
		Returns string   `toml:"returns"`
		Path    string   `toml:"path"`
		Args    []string `toml:"args"`
		Env     []string `toml:"env"`
	} `toml:"stream_processors"`
}

func (l *load) decode(name string, data []byte) (f *file, err error) {
	// A library that panics over a file takes containerd down with it.
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, l.noStart(Position{File: name}, "correct the file", fmt.Sprintf("is not TOML: %v", p))
		}
	}()
	if nesting(data) > maxNesting {
		return nil, l.noStart(Position{File: name}, "correct the file", fmt.Sprintf("nests more than %d deep", maxNesting))
	}
	if l.line.isOne() {
		return l.decodeOne(name, data)
	}
	return l.decodeTwo(name, data)
}

func (l *load) decodeOne(name string, data []byte) (*file, error) {
	tree, err := early.LoadBytes(data)
	var s settings[early.Tree]
	if err == nil {
		err = tree.Unmarshal(&s)
	}
	if err != nil {
		return nil, l.noTOML(name, 0, err)
	}
	f := &file{path: name, data: data, trees: s.Plugins, lines: func(key ...string) int {
		if at := tree.GetPositionPath(key); at.Line > 0 {
			return at.Line
		}
		last := len(key) - 1 // go-toml 1 finds keys in capitals
		return tree.GetPositionPath(append(slices.Clone(key[:last]), strings.ToUpper(key[last]))).Line
	}}
	fill(f, &s)
	return f, nil
}

func (l *load) decodeTwo(name string, data []byte) (*file, error) {
	where := keyLines(data)
	text, err := l.older(name, data, where)
	if err != nil {
		return nil, err
	}
	var s settings[any]
	if err := toml.Unmarshal(text, &s); err != nil {
		return nil, l.noTOML(name, lineOf(err), err)
	}
	f := &file{path: name, data: data, lines: where}
	fill(f, &s)
	f.plugins = newNode(map[string]any(s.Plugins), name, []string{"plugins"}, where).table
	return f, nil
}

// older returns a file as the library of containerd before 2.4 reads it.
func (l *load) older(name string, data []byte, where lines) ([]byte, error) {
	if !l.line.Before(2, 4, 0) {
		return data, nil
	}
	if err := toml.Unmarshal(data, &map[string]any{}); err != nil {
		return nil, l.noTOML(name, lineOf(err), err)
	}
	if at := newerTOML(data); at >= 0 {
		return nil, l.noTOML(name, 1+bytes.Count(data[:at], []byte{'\n'}), errors.New("it is TOML 1.1 here, and this version reads 1.0"))
	}
	text, at := older(data, where)
	if at > 0 {
		return nil, l.noTOML(name, at, errors.New("plugins is spelled in two ways, one of which has a table here and the other a value"))
	}
	return text, nil
}

func lineOf(err error) int {
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return 0
	}
	line, _ := at.Position()
	return line
}

func (l *load) noTOML(name string, line int, err error) *StartError {
	s := l.noStart(Position{File: name, Line: line}, "correct the file", "is not a configuration that it reads: "+strings.TrimPrefix(err.Error(), "toml: "))
	s.cause = err
	return s
}

func fill[Plugin any](f *file, s *settings[Plugin]) {
	f.version, f.imports, f.timeouts = s.Version, s.Imports, s.Timeouts
	f.disabled, f.required = s.DisabledPlugins, s.RequiredPlugins
}
