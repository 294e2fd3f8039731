package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const rbacUsage = `Usage: mirrorcred rbac [FLAGS]

Prints the rules of the cluster that the map's credentials need: its nodes must be
allowed to ask for tokens of pods, for the audience of each credential that takes
one. It prints nothing if no credential does. It changes nothing, and needs neither
a cluster nor root.

      --map FILE  the map (default /etc/mirrorcred/mirrors.toml, or else
                  /etc/mirrorcred/delivered/mirrors.toml, below --root)
      --root DIR  take all paths as below DIR
      --json      print it as a list in JSON, which kubectl takes too
  -h, --help      print this text

Each audience has a rule of its own, so the rules of several maps add up.

Example:
  mirrorcred rbac | kubectl apply -f -
`

// runRBAC is the command rbac.
func runRBAC(_ context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("rbac", pflag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	mapFile := flags.String("map", "", "")
	flags.String("root", "", "")
	if done, err := parse(flags, rbacUsage, args, stdout); done || err != nil {
		return err
	}
	root, err := rootFlag(flags)
	if err != nil {
		return err
	}
	m, err := node.New(root, *mapFile, false).ParseMap()
	if err != nil {
		return err
	}
	if *asJSON {
		return rulesAsJSON(stdout, audiences(m))
	}
	p := printer{w: stdout}
	for i, audience := range audiences(m) {
		if i > 0 {
			p.printf("---\n")
		}
		p.printf(ruleText, quoteYAML(ruleName(audience)), quoteYAML(audience))
	}
	return p.err
}

// audiences returns the audiences of the pods' tokens that a map needs, each once.
func audiences(m *mirror.Map) []string {
	var list []string
	for _, c := range m.Credentials {
		if c.Token != nil && !slices.Contains(list, c.Token.Audience) {
			list = append(list, c.Token.Audience)
		}
	}
	return list
}

const (
	rbacGroup = "rbac.authorization.k8s.io"
	tokenVerb = "request-serviceaccounts-token-audience"
	nodeGroup = "system:nodes"
	ruleText  = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[1]s}
rules:
  - apiGroups: [""]
    verbs: [` + tokenVerb + `]
    resources: [%[2]s]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: ` + rbacGroup + `, kind: ClusterRole, name: %[1]s}
subjects: [{apiGroup: ` + rbacGroup + `, kind: Group, name: "` + nodeGroup + `"}]
`
)

// quoteYAML returns a string as YAML has it in double quotes, which are those of JSON.
func quoteYAML(s string) string {
	data, _ := json.Marshal(s) // a string can always be written
	return string(data)
}

// ruleName returns the name of an audience's rule. What no name may have is replaced,
// and then a part of the audience's hash keeps it apart from others.
func ruleName(audience string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, audience)
	if len(name) > 180 {
		name = name[:180]
	}
	if name = "mirrorcred-" + strings.Trim(name, "-."); name == "mirrorcred-"+audience {
		return name
	}
	sum := sha256.Sum256([]byte(audience))
	return name + "-" + hex.EncodeToString(sum[:4])
}

// rulesAsJSON prints the rules as a list of Kubernetes.
func rulesAsJSON(w io.Writer, audiences []string) error {
	type object map[string]any
	items := []object{}
	for _, audience := range audiences {
		version, named := rbacGroup+"/v1", object{"name": ruleName(audience)}
		items = append(items, object{
			"apiVersion": version, "kind": "ClusterRole", "metadata": named,
			"rules": []object{{"apiGroups": []string{""}, "verbs": []string{tokenVerb}, "resources": []string{audience}}},
		}, object{
			"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": named,
			"roleRef":  object{"apiGroup": rbacGroup, "kind": "ClusterRole", "name": named["name"]},
			"subjects": []object{{"apiGroup": rbacGroup, "kind": "Group", "name": nodeGroup}},
		})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object{"apiVersion": "v1", "kind": "List", "items": items}); err != nil {
		return fmt.Errorf("print the rules: %w", err)
	}
	return nil
}
