package doctor

import "github.com/mirrorcred/mirrorcred/hosts"

// A Severity says how much a finding matters.
type Severity string

// The severities.
const (
	// Error: a pull of a mapped source fails or goes elsewhere, a program would not
	// start, or a credential may be seen by another.
	Error Severity = "error"
	// Warning: something will go wrong, or may.
	Warning Severity = "warning"
	// Note: nothing is wrong; it is worth knowing.
	Note Severity = "note"
)

// warnings and notes are the findings that are not errors.
var (
	warnings = map[string]bool{
		ProbeThrottled: true, ProbeRedirect: true,
		MapMode: true, DockerConfigNoEntry: true, DuplicateAnswer: true, NodeDockerConfig: true, HostsDirLeftovers: true,
		ClockUnknown: true, SecretOverHTTP: true, DirectoryIgnored: true, CertificatesIgnored: true,
		RegistriesYAMLUnreadable: true, EmptyDirectory: true, NotADirectory: true, CaseOrPortSpelling: true, DockerStyleIgnored: true,
		ShadowedDirectory: true, NextStartDiffers: true, ImportNotFollowed: true, MatchImagesNeverMatch: true,
		MatchImagesTooWide: true, WatcherNotRunning: true, NotLookedAt: true,
		ContainerdLoginUsed: true, HeadersLost: true, PauseImage: true, OwnImage: true, FlagsDifferFromFiles: true, CachePoisoned: true, RealmUnasked: true,
		WatcherOlder: true, NoInotify: true, ReadOnly: true, SELinuxLabel: true, ClockSkew: true, AnotherNode: true,
		CredentialNotRenewed: true, MirrorNotReady: true, NodeadmRewrites: true, KubeadmFlagsComment: true,
		hosts.KeyUnknown: true, hosts.HTTPWithTLSKeys: true, hosts.TwoTargetsOneHost: true,
	}
	notes = map[string]bool{
		ProbeLimited: true, ProbeSkipped: true,
		CredentialLeftToNode: true, DirectoryAdopted: true, DefaultOfAnotherProgram: true, SourceDraining: true, CtrIgnoresHosts: true, TokenRBAC: true, hosts.NoScheme: true, hosts.TrailingPath: true,
	}
)

// SeverityOf returns the severity of a finding by its name.
func SeverityOf(name string) Severity {
	switch {
	case warnings[name]:
		return Warning
	case notes[name]:
		return Note
	}
	return Error
}
