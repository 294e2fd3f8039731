package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// openMap checks for headers with values that may be secrets, in a map that others can
// read. A value that is certainly a secret is a fault of the map instead.
func openMap(facts *Facts) []Finding {
	remedy := "run: chmod 0600 " + facts.MapFile
	if facts.Delivered {
		// In the cluster, others can read it anyway, and each delivery sets its mode.
		remedy = "if it does, write { file = \"/etc/mirrorcred/…\" } in the map, and the same in the node's /etc/mirrorcred/allowed.toml"
	}
	var found []Finding
	for _, s := range facts.Map.LiteralSecrets {
		if !facts.OpenMap || s.Certain {
			continue
		}
		found = append(found, Finding{MapMode, fmt.Sprintf("%s:%d", facts.MapFile, s.Line),
			fmt.Sprintf("header %s may hold a secret, and others can read the map", s.Header), remedy})
	}
	return found
}

// credentialFiles checks the files and programs that credentials come from.
func credentialFiles(facts *Facts) []Finding {
	var found []Finding
	all := uses(facts.Map)
	azure, direct := facts.Map.Azure()
	for _, c := range facts.Map.Credentials {
		u := all[c.Name]
		if direct && c.Name == azure.Name {
			// It answers for images that name an ACR registry, too.
			u.sources.also = "the images of Azure Container Registry"
		}
		if u.sources.empty() {
			continue // no pull needs the credential
		}
		switch c.Kind {
		case mirror.Azure:
			found = append(found, azureFiles(facts, c, u)...)
		case mirror.DockerConfig:
			found = append(found, dockerFile(facts, c, u)...)
		case mirror.Exec:
			found = append(found, command(facts, c, u)...)
		}
	}
	return found
}

func azureFiles(facts *Facts, c mirror.Credential, u *use) []Finding {
	var found []Finding
	f := facts.Files[c.File]
	switch {
	case errors.Is(f.Err, fs.ErrNotExist):
		found = append(found, Finding{AzureJSONMissing, f.Path, "the file does not exist, " + u.sources.withoutCredential(),
			fmt.Sprintf("write it, or name the node's azure.json by config under [credential.%s] in %s", c.Name, facts.MapFile)})
	case f.Err != nil:
		found = append(found, invalid(AzureJSONInvalid, f, f.Err.Error(), u))
	case f.Fault != "":
		found = append(found, invalid(AzureJSONInvalid, f, f.Fault, u))
	default:
		found = append(found, identity(facts, c, f, u)...)
	}
	if c.Binding == nil {
		return found
	}
	if ca := facts.Files[c.Binding.CA]; ca.Err != nil {
		found = append(found, Finding{BindingCAMissing, ca.Path, fmt.Sprintf("the CA of the identity binding %s, %s", unreadable(ca.Err), u.sources.withoutCredential()),
			fmt.Sprintf("put the API server's CA there, or name it by ca under [credential.%s.identity_binding] in %s", c.Name, facts.MapFile)})
	}
	return found
}

// identity checks an azure.json that can be read: whether it names an identity of the
// node, and whether others can read its password. A credential that uses the pods'
// tokens needs no identity of the node.
func identity(facts *Facts, c mirror.Credential, f File, u *use) []Finding {
	var found []Finding
	if f.Azure == nil {
		return nil
	}
	if f.Azure.Lacks != "" && c.Token == nil {
		found = append(found, invalid(AzureIdentityIncomplete, f, f.Azure.Lacks, u))
	}
	if f.Azure.HasSecret && f.Mode.Perm()&0o044 != 0 {
		found = append(found, Finding{AzureJSONMode, f.Path, fmt.Sprintf("it has mode %04o and holds a password, which every user of the node can read", f.Mode.Perm()),
			"run: chmod 0600 " + f.Path})
	}
	if f.Azure.Suffix == "" {
		return found
	}
	for _, host := range u.hosts {
		if suffix, ok := host.ACRSuffix(); ok && suffix != f.Azure.Suffix {
			found = append(found, Finding{NotAnACRHost, f.Path, fmt.Sprintf("the registries of the cloud in it end in %q, and %q does not, so the plugin sends it no token and its pulls get no credential", f.Azure.Suffix, host),
				fmt.Sprintf("correct cloud in that file, or the target in %s", facts.MapFile)})
		}
	}
	return found
}

// invalid returns the finding about a file that cannot be used, by the error of the
// package that reads it.
func invalid(name string, f File, found string, u *use) Finding {
	text, repair := fault.Split(found)
	if repair == "" {
		repair = "correct it"
	}
	where := f.Path
	if line, rest, ok := strings.Cut(text, ": "); ok && isNumber(line) {
		where, text = where+":"+line, rest
	} else if rest, ok := strings.CutPrefix(text, f.Path+" "); ok {
		text = "it " + rest
	}
	return Finding{name, where, text + ", " + u.sources.withoutCredential(), repair}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

func unreadable(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "does not exist"
	}
	return fmt.Sprintf("cannot be read (%v)", err)
}

func dockerFile(facts *Facts, c mirror.Credential, u *use) []Finding {
	f := facts.Files[c.File]
	switch {
	case errors.Is(f.Err, fs.ErrNotExist):
		return []Finding{{DockerConfigMissing, f.Path, "the file does not exist, " + u.sources.withoutCredential(),
			fmt.Sprintf("write it with mode 0600, as \"docker login\" does, or name another by path under [credential.%s] in %s", c.Name, facts.MapFile)}}
	case f.Err != nil:
		return []Finding{invalid(DockerConfigInvalid, f, f.Err.Error(), u)}
	case f.Mode.Perm()&0o077 != 0:
		return []Finding{{DockerConfigMode, f.Path, fmt.Sprintf("it has mode %04o and holds passwords, and the plugin refuses it, %s", f.Mode.Perm(), u.sources.withoutCredential()),
			"run: chmod 0600 " + f.Path}}
	case f.Fault != "":
		return []Finding{invalid(DockerConfigInvalid, f, f.Fault, u)}
	}
	return dockerEntries(facts, c, f.Path, u)
}

// dockerEntries checks that the file has an entry, or a helper, for each registry that
// gets its credential from it.
func dockerEntries(facts *Facts, c mirror.Credential, file string, u *use) []Finding {
	keys := facts.Docker[c.File]
	if keys == nil {
		return nil
	}
	var found []Finding
	reported := map[string]bool{} // registries and helpers
	for _, t := range u.targets {
		if lacks, repair := keys.Lacks(t.query()); lacks != "" && !reported[t.registry.String()] {
			reported[t.registry.String()] = true
			found = append(found, Finding{DockerConfigNoEntry, file, lacks + ", so pulls from it get no credential", repair})
		}
		helper := keys.Helper(t.query())
		if helper == "" || facts.Helpers == nil || facts.Helpers[helper] || reported["helper "+helper] {
			continue
		}
		reported["helper "+helper] = true
		found = append(found, Finding{HelperMissing, file,
			fmt.Sprintf("it has docker-credential-%s asked for %q, and that program is not in the kubelet's PATH, so its pulls get no credential", helper, t.registry),
			fmt.Sprintf("install docker-credential-%s in /usr/local/bin, or give %q an entry under auths", helper, t.registry)})
	}
	return found
}

func command(facts *Facts, c mirror.Credential, u *use) []Finding {
	f := facts.Files[c.Command]
	switch {
	case errors.Is(f.Err, fs.ErrNotExist):
		return []Finding{{ExecMissing, f.Path, "the command does not exist, " + u.sources.withoutCredential(),
			fmt.Sprintf("install it, or name another by command under [credential.%s] in %s", c.Name, facts.MapFile)}}
	case f.Err != nil:
		return []Finding{{ExecMissing, f.Path, fmt.Sprintf("the command cannot be read (%v), %s", f.Err, u.sources.withoutCredential()),
			fmt.Sprintf("install it, or name another by command under [credential.%s] in %s", c.Name, facts.MapFile)}}
	case !f.Mode.IsRegular():
		return []Finding{{ExecMissing, f.Path, "the command is not a file, " + u.sources.withoutCredential(),
			fmt.Sprintf("name the program itself by command under [credential.%s] in %s", c.Name, facts.MapFile)}}
	case f.Mode.Perm()&0o111 == 0:
		return []Finding{{ExecMissing, f.Path, "the command cannot be executed, " + u.sources.withoutCredential(), "run: chmod 0755 " + f.Path}}
	}
	return nil
}
