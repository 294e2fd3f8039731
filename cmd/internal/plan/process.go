package plan

import "time"

// A Process is a running kubelet.
type Process struct {
	PID     int
	Started Moment
	Args    []string
	// Config is the configuration of its providers, and BinDir their directory; "" if
	// the flag is not set.
	Config, BinDir string
	// Embedded says that the kubelet is part of another program, so that
	// its flags are not among args.
	Embedded bool
	// Unit is the service of systemd's that the process belongs to, or "".
	Unit string
	// Place is where the process runs; nil if that may not be read.
	Place *Place
	// Dating is known only if the caller asks for the times of the kubelet's files.
	Dating Dating
}

// A Dating says how far the times of files can be compared with the start of a
// process. The zero Dating says that they can.
type Dating struct {
	Worthless bool          // they tell nothing
	Untold    bool          // nothing tells whether the wall clock was set since
	Drift     time.Duration // how far the wall clock may have been set since
}

// A Place is where a process runs.
type Place struct {
	Dir  string // its working directory
	Home string // its $HOME, "" if it has none
}
