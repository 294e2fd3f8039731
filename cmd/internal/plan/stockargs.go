package plan

import (
	"slices"
	"strings"
)

// stockArgs are the arguments of [mirror.Stock] that matter here.
type stockArgs struct {
	azure string // the path of azure.json
	pairs string // of the last --registry-mirror, which is the one that counts
}

func readStockArgs(args []string) stockArgs {
	var s stockArgs
	eachStockArg(args, func(flag, value string, _ []string) {
		switch {
		case isMirrorFlag(flag):
			s.pairs = value
		case flag == "" && s.azure == "":
			s.azure = value
		}
	})
	return s
}

// mirrors parses the mirrors as that plugin does: a colon more or less, such as
// a port's, and the pair is skipped; of two for one source the later counts
// (azure_credentials.go, processMirrorMapping).
func (s stockArgs) mirrors() map[string]string {
	mirrors := map[string]string{}
	for pair := range strings.SplitSeq(strings.ReplaceAll(s.pairs, " ", ""), ",") {
		if parts := strings.Split(pair, ":"); len(parts) == 2 {
			mirrors[parts[0]] = parts[1]
		}
	}
	return mirrors
}

// withMirrorArg returns the arguments with other mirrors, in the place of those
// that are there.
func withMirrorArg(args []string, mirrors string) []string {
	var list []string
	add := func() {
		if mirrors != "" {
			list = append(list, "--registry-mirror="+mirrors)
		}
		mirrors = ""
	}
	eachStockArg(args, func(flag, _ string, as []string) {
		if isMirrorFlag(flag) {
			add()
			return
		}
		list = append(list, as...)
	})
	add()
	return list
}

func isMirrorFlag(name string) bool { return name == "r" || name == "registry-mirror" }

// eachStockArg calls f for each argument with its flag, "" for none, its value,
// and as it is written: "--flag value", "--flag=value", "-f value" and "-fvalue".
func eachStockArg(args []string, f func(flag, value string, as []string)) {
	for i := 0; i < len(args); i++ {
		start, arg := i, args[i]
		if len(arg) < 2 || arg[0] != '-' {
			f("", arg, args[i:i+1])
			continue
		}
		flag, value, hasValue := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if arg[1] != '-' {
			flag, value, hasValue = arg[1:2], strings.TrimPrefix(arg[2:], "="), len(arg) > 2
		}
		if !hasValue && !slices.Contains([]string{"h", "help", "version"}, flag) && i+1 < len(args) {
			i++
			value = args[i]
		}
		f(flag, value, args[start:i+1])
	}
}

// byHost returns the mirrors by host. A mirror for some repositories of a source
// counts for the whole source, since only the source of a pull is known.
func byHost(mirrors map[string]string) map[string]string {
	hosts := make(map[string]string, len(mirrors))
	for from, to := range mirrors {
		from, _, _ = strings.Cut(from, "/")
		hosts[from], _, _ = strings.Cut(to, "/")
	}
	return hosts
}
