package plugin

import "errors"

// errTerminal is for a person who types the program's name: the kubelet would have
// written a request. It is not a run, so it is not in the audit log.
var errTerminal = errors.New("the kubelet runs this program and writes a request to its standard input, which is a terminal here; see --help for an example, and \"mirrorcred events\" for what its runs did")
