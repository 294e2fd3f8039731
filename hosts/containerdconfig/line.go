package containerdconfig

// The plugins that hold registry configuration: the CRI plugin of containerd
// 1.x, its name in a file of version 1 or none, and the plugins of 2.x.
const (
	criPlugin     = "io.containerd.grpc.v1.cri"
	earlyPlugin   = "cri"
	imagesPlugin  = "io.containerd.cri.v1.images"
	runtimePlugin = "io.containerd.cri.v1.runtime"
)

// defaultList is the config_path that containerd uses from 2.2 if none is set
// (plugins/cri/images/plugin.go, v2.2.9).
const defaultList = "/etc/containerd/certs.d:/etc/docker/certs.d"

// A line knows what distinguishes a containerd's rules from another's.
type line struct{ Version }

func (l line) String() string { return "containerd " + l.Release() }

// isOne reports whether containerd is 1.x, which migrates nothing and reads
// files with another TOML library.
func (l line) isOne() bool { return l.Before(2, 0, 0) }

// migratesEach reports whether each file is migrated before it is merged, rather
// than the result once.
func (l line) migratesEach() bool { return !l.Before(2, 3, 0) }

// refusesNewerImports reports whether an import's version may not be above the
// main file's.
func (l line) refusesNewerImports() bool { return l.migratesEach() && l.Before(2, 3, 5) }

// startsWithList reports whether the default list is there before the files are
// read, so that an empty string in one removes it, and mirrors conflict with it.
func (l line) startsWithList() bool { return !l.Before(2, 2, 0) && l.Before(2, 2, 2) }

// defaultsToList reports whether the default list is used if neither
// config_path nor mirrors is set.
func (l line) defaultsToList() bool { return !l.Before(2, 2, 2) }

// splits reports whether every pull splits config_path at colons. From 2.1 the
// default one takes the whole for one directory.
func (l line) splits() bool { return l.Before(2, 1, 0) }

// highest returns the highest configuration version that is read.
func (l line) highest() int {
	switch {
	case l.isOne():
		return 2
	case l.migratesEach():
		return 4
	}
	return 3
}

// sandbox returns the pause image that is used if none is set
// (pkg/cri/config/config_unix.go, v1.7.35; internal/cri/config/config.go, v2.0.14
// to v2.4.2).
func (l line) sandbox() string {
	tag := "3.10.2"
	switch {
	case l.isOne():
		tag = "3.8"
	case l.Before(2, 2, 0):
		tag = "3.10"
	case l.Before(2, 3, 0):
		tag = "3.10.1"
	}
	return "registry.k8s.io/pause:" + tag
}
