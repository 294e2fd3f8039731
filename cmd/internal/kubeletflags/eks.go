package kubeletflags

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// nodeadm reads this directory at each boot, together with the user data, and appends the
// kubelet's flags in it to its own, so that they win (awslabs/amazon-eks-ami).
const (
	nodeadmDir  = "/etc/eks/nodeadm.d"
	nodeadmFile = nodeadmDir + "/mirrorcred-kubelet.yaml"
)

// planEKS plans for a node on which nodeadm rewrites the files at each boot. By default
// nodeadm's flags name one file, which it writes itself. So the plan makes them name the
// directory of that file instead, where mirrorcred has a file of its own.
func (s *service) planEKS(k *Kubelet, o Options, p Plan) Plan {
	dir := path.Dir(k.Now.Config)
	if path.Ext(k.Now.Config) == "" {
		dir = k.Now.Config // as it is once nodeadm has read the file
	}
	asked := Paths{dir, k.Now.BinDir}
	if o.Named && o.Want != k.Now && o.Want != asked {
		if o.Adopt {
			return s.askNodeadm(o.Want.words(), p)
		}
		fault := differ(k.Now, o.Want)
		fault.Repair = "write the kubelet's paths there, or config = \"" + dir + "\", or leave both keys out; with --adopt, nodeadm gives the kubelet the map's from the next boot on"
		p.Faults = append(p.Faults, fault)
		return p
	}
	switch {
	case k.Now.Config == dir:
		return p
	case o.Named && o.Want == k.Now:
		p.Notes = append(p.Notes, k.Now.Config+": "+s.layout.writer+"; write config = \""+dir+"\" under [kubelet] to have a file of its own for mirrorcred (kubelet 1.34 and later)")
		return p
	case o.Version == "":
		p.Notes = append(p.Notes, k.Now.Config+": "+s.layout.writer+"; whether this kubelet reads a directory instead is not known: write version = \"1.34\" or what it is under [kubelet], and run this again")
		return p
	case !atLeast(o.Version, 1, 34):
		p.Notes = append(p.Notes, k.Now.Config+": "+s.layout.writer+", and a kubelet before 1.34 reads no directory instead; mirrorcred.service adds its provider again after each boot")
		return p
	}
	return s.askNodeadm([]string{"--" + ConfigFlag + "=" + dir}, p)
}

// askNodeadm plans a file that makes nodeadm give the kubelet flags, unless one does so
// already.
func (s *service) askNodeadm(flags []string, p Plan) Plan {
	told := "from the next boot on the kubelet has " + strings.Join(flags, " ") + ", which nodeadm reads in "
	list, _ := s.files.Glob(nodeadmDir + "/*") // the pattern is a good one
	for _, name := range list {
		data, err := read(s.files, name)
		if ext := path.Ext(name); err != nil || ext != ".yaml" && ext != ".yml" && ext != ".json" {
			continue
		}
		if !slices.ContainsFunc(flags, func(flag string) bool { return !hasWord(data, flag) }) {
			p.Waiting = append(p.Waiting, told+name)
			return p
		}
	}
	text := header + "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  kubelet:\n    flags:\n"
	for _, flag := range flags {
		text += "      - " + flag + "\n"
	}
	old, err := read(s.files, nodeadmFile)
	if err != nil {
		p.Faults = append(p.Faults, &Fault{File: nodeadmFile, Text: err.Error(), Repair: "run this as root"})
		return p
	}
	p.Changes = append(p.Changes, Change{Path: nodeadmFile, Old: old, New: []byte(text)})
	p.Waiting = append(p.Waiting, told+nodeadmFile)
	return p
}

// hasWord reports whether a file has a flag as a whole word.
func hasWord(data []byte, flag string) bool {
	for {
		_, after, found := bytes.Cut(data, []byte(flag))
		if !found {
			return false
		}
		if len(after) == 0 || bytes.IndexByte([]byte(" \t\r\n\"',]"), after[0]) >= 0 {
			return true
		}
		data = after
	}
}
