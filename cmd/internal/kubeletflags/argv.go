package kubeletflags

import (
	"slices"
	"strings"
)

// A flag is a flag on a command line.
type flag struct {
	name, value string
	at, words   int // where it is, and how many words it takes
}

// flagsIn returns the flags of this package that a command line gives, by the rules
// of pflag, which the kubelet uses: "--a b" is "--a=b", and "_" in a name is "-".
func flagsIn(argv []string) []flag {
	var list []flag
	for i := 0; i < len(argv); i++ {
		key, value, hasValue := strings.Cut(argv[i], "=")
		name, ok := strings.CutPrefix(key, "--")
		name = strings.ReplaceAll(name, "_", "-")
		if !ok || name != ConfigFlag && name != BinDirFlag && name != InTreeFlag {
			continue
		}
		f := flag{name, value, i, 1}
		if !hasValue && i+1 < len(argv) {
			i++
			f.value, f.words = argv[i], 2
		}
		list = append(list, f)
	}
	return list
}

// valuesOf returns the different values of a flag, in order.
func valuesOf(argv []string, name string) []string {
	var list []string
	for _, f := range flagsIn(argv) {
		if f.name == name {
			list = slices.DeleteFunc(list, func(v string) bool { return v == clean(f.value) })
			list = append(list, clean(f.value))
		}
	}
	return list
}

// lastOf returns the last value of a flag, which counts; "" if it is not given.
func lastOf(argv []string, name string) string {
	if list := valuesOf(argv, name); len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

func pathsOf(argv []string) Paths {
	return Paths{lastOf(argv, ConfigFlag), lastOf(argv, BinDirFlag)}
}

// others returns a command line without the flags of this package.
func others(argv []string) []string {
	rest := slices.Clone(argv)
	for _, f := range slices.Backward(flagsIn(argv)) {
		rest = slices.Delete(rest, f.at, f.at+f.words)
	}
	return rest
}

// isBare reports whether a command line has neither of the two flags.
func isBare(argv []string) bool { return pathsOf(argv) == Paths{} }

// words returns the two flags as words of a command line.
func (p Paths) words() []string {
	return []string{"--" + ConfigFlag + "=" + p.Config, "--" + BinDirFlag + "=" + p.BinDir}
}

func (p Paths) value(name string) string {
	if name == ConfigFlag {
		return p.Config
	}
	return p.BinDir
}

// turn gives the flags of a command line the values in want, each once and in its first
// place. It removes [InTreeFlag].
func turn(argv []string, want Paths) []string {
	var list []string
	done, at := map[string]bool{}, 0
	for _, f := range flagsIn(argv) {
		list = append(list, argv[at:f.at]...)
		at = f.at + f.words
		if f.name != InTreeFlag && !done[f.name] {
			list = append(list, "--"+f.name+"="+want.value(f.name))
			done[f.name] = true
		}
	}
	return append(list, argv[at:]...)
}

// missing returns the flags to append to a command line so that both have the values in
// want.
func missing(argv []string, want Paths) []string {
	var list []string
	for i, name := range []string{ConfigFlag, BinDirFlag} {
		if lastOf(argv, name) != want.value(name) {
			list = append(list, want.words()[i])
		}
	}
	return list
}
