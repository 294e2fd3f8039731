package hosts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// allCapabilities are those that containerd knows, in the order of its bits
// (core/remotes/docker/registry.go, v2.4.2).
var allCapabilities = []string{"pull", "resolve", "push", "referrers"}

// capabilities returns those that containerd knows. A registry has all of them if
// the file names none.
func capabilities(v Version) []string {
	if readsReferrers(v) {
		return slices.Clone(allCapabilities)
	}
	return slices.Clone(allCapabilities[:3])
}

func readCapabilities(said []string, v Version) ([]string, error) {
	known := capabilities(v)
	if len(said) == 0 {
		return known, nil
	}
	has := map[string]bool{}
	for _, c := range said {
		name := strings.ToLower(c)
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("has %q, which containerd %s does not know; choose from %s", c, v, strings.Join(known, ", "))
		}
		has[name] = true
	}
	return slices.DeleteFunc(known, func(c string) bool { return !has[c] }), nil
}

// readPaths reads ca: one path or a list. An empty list is not nil.
func readPaths(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		return readStrings(v)
	}
	return nil, wantsError("ca")
}

func readStrings(values []any) ([]string, error) {
	list := make([]string, len(values))
	for i, v := range values {
		s, ok := v.(string)
		if !ok {
			return nil, errors.New("has something else in a list of strings; put it in quotes")
		}
		list[i] = s
	}
	return list, nil
}

// readClient reads client: one path, or a list of paths and of pairs.
func readClient(v any) ([][2]string, error) {
	if v == nil {
		return nil, nil
	}
	if s, ok := v.(string); ok {
		return [][2]string{{s, ""}}, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, wantsError("client")
	}
	var pairs [][2]string
	for _, v := range list {
		if s, ok := v.(string); ok {
			pairs = append(pairs, [2]string{s, ""})
			continue
		}
		v, ok := v.([]any)
		if !ok {
			return nil, wantsError("client")
		}
		pair, err := readStrings(v)
		if err != nil {
			return nil, err
		}
		if len(pair) != 2 {
			return nil, fmt.Errorf("has an entry of %d files; write a certificate and a key", len(pair))
		}
		for i := range pair {
			// In a pair an empty path is made absolute like any other,
			// and then is the directory: no key, and a pull that fails.
			if pair[i] == "" {
				pair[i] = "."
			}
		}
		pairs = append(pairs, [2]string(pair))
	}
	return pairs, nil
}

func readHeader(table map[string]any) (map[string][]string, error) {
	if table == nil {
		return nil, nil
	}
	header := make(map[string][]string, len(table))
	for name, v := range table {
		switch v := v.(type) {
		case string:
			header[name] = []string{v}
		case []any:
			values, err := readStrings(v)
			if err != nil {
				return nil, err
			}
			header[name] = values
		default:
			return nil, wantsError("header")
		}
	}
	return header, nil
}

func readTimeout(v any, version Version) (time.Duration, error) {
	if v == nil || v == "" || !readsDialTimeout(version) {
		return 0, nil
	}
	s, ok := v.(string)
	if !ok {
		return 0, wantsError("dial_timeout")
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("is %q, which is not a time; write one like \"5s\"", s)
	}
	return d, nil
}

// wants says what containerd expects as the value of a key.
var wants = map[string]string{
	"server":        "a string",
	"host":          "tables [host.\"https://…\"]",
	"capabilities":  "a list of strings",
	"ca":            "a path or a list of paths",
	"client":        "a path, a list of paths or a list of pairs of paths",
	"skip_verify":   "true or false",
	"header":        "a table whose values are strings or lists of strings",
	"override_path": "true or false",
	"dial_timeout":  "a time in quotes, such as \"5s\"",
}

func wantsError(key string) error {
	return fmt.Errorf("is not what containerd expects; write %s", wants[key])
}
