// Package doctor knows what makes a pull fail although the node matches its
// map. Each check has a name; a finding says where the fault is, what fails,
// and the one repair.
//
// It judges what it is given and reads nothing. Package node collects the
// facts, and reports the findings as the warnings of a plan. Start at [Check]
// and [Facts].
package doctor

// A Finding is one thing that makes a pull go wrong, or will.
type Finding struct {
	// Name is the finding's stable name, one of those below.
	Name string `json:"name"`
	// Where is the file it is about, with its line if that is known, a source,
	// or a process; "" if it is about the node as a whole.
	Where string `json:"where,omitempty"`
	// Text says what is wrong and which pulls fail because of it.
	Text string `json:"text"`
	// Repair is the one thing to do, without a full stop.
	Repair string `json:"repair"`
}

// String returns the finding on one line.
func (f Finding) String() string {
	s := f.Text
	if f.Where != "" {
		s = f.Where + ": " + s
	}
	if f.Repair != "" {
		s += "; " + f.Repair
	}
	return s
}

// checks are all checks, in the order of the report.
var checks = []func(*Facts) []Finding{
	openMap,
	credentialFiles,
	duplicateAnswers,
	nodeDockerConfigs,
	kubeletFlags,
	logins,
	leftovers,
}

// Check returns all findings, in the same order each time. It is
// never nil.
func Check(facts *Facts) []Finding {
	found := []Finding{}
	for _, check := range checks {
		found = append(found, check(facts)...)
	}
	return found
}
