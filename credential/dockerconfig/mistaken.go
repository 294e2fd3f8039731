package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// The keys under which a Kubernetes Secret holds a docker configuration, and
// which of the two formats each has (kubernetes.io/docs/concepts/configuration/secret).
const (
	inSecret    = ".dockerconfigjson"
	inOldSecret = ".dockercfg"
)

// secretKind matches the kind of a manifest, in YAML or JSON, which lists may
// hold too. It is compiled on first use, not at each start of the plugin.
var secretKind = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)(?:^|[{,\s])["']?kind["']?\s*:\s*["']?(?:Secret|SecretList)\b`)
})

// mistaken recognises files that people mistake for a config.json, and says how
// to convert them; nil for any other. It repeats nothing of the file.
func mistaken(file string, data []byte) error {
	text := string(data)
	switch {
	case secretKind().MatchString(text) && strings.Contains(text, inOldSecret) && !strings.Contains(text, inSecret):
		return fmt.Errorf("%s is a Kubernetes Secret, not a docker config.json; write the file that it holds: kubectl get secret NAME -n NAMESPACE -o jsonpath='{.data.\\.dockercfg}' | base64 -d | jq '{auths: .}' >%s", file, file)
	case secretKind().MatchString(text):
		return fmt.Errorf("%s is a Kubernetes Secret, not a docker config.json; write the file that it holds: kubectl get secret NAME -n NAMESPACE -o jsonpath='{.data.\\.dockerconfigjson}' | base64 -d >%s", file, file)
	case isOldFormat(data):
		return fmt.Errorf("%s is a .dockercfg, whose entries a docker config.json has under \"auths\"; write it so: (umask 077 && jq '{auths: .}' %s >%s.new && mv %s.new %s)", file, file, file, file, file)
	case isEncoded(data):
		return fmt.Errorf("%s is base64, as a Kubernetes Secret has it; decode it: (umask 077 && base64 -d %s >%s.new && mv %s.new %s)", file, file, file, file, file)
	}
	return nil
}

// isOldFormat reports whether a file has the entries of auths at its top level,
// as docker before 1.7 wrote it.
func isOldFormat(data []byte) bool {
	var top map[string]json.RawMessage
	if json.Unmarshal(data, &top) != nil {
		return false
	}
	for key, value := range top {
		switch strings.ToLower(key) {
		case "auths", "credhelpers", "credsstore":
			return false
		}
		var a auth
		if _, ok := newEntry(key, auth{}); ok && json.Unmarshal(value, &a) == nil && !a.empty() {
			return true
		}
	}
	return false
}

// isEncoded reports whether a file is the base64 of a JSON object.
func isEncoded(data []byte) bool {
	text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
	return err == nil && len(text) > 0 && json.Valid(text) && strings.HasPrefix(strings.TrimSpace(string(text)), "{")
}
