package main

// The values of the chart as types, which the schema is made from. What a key means is
// in values.yaml, and for those of the map in docs/map.md.

type values struct {
	Image                imageValues       `json:"image"`
	ImagePullSecrets     []any             `json:"imagePullSecrets"`
	Map                  mapValue          `json:"map"`
	Rings                []ringValues      `json:"rings"`
	Nodes                count             `json:"nodes"`
	Pulls                positive          `json:"pulls"`
	MaxUnavailable       countOrPercent    `json:"maxUnavailable"`
	MinReadySeconds      whole             `json:"minReadySeconds"`
	RestartKubelet       bool              `json:"restartKubelet"`
	WatchFlags           string            `json:"watchFlags"`
	Installer            installerValues   `json:"installer"`
	Allowed              stringOrNull      `json:"allowed"`
	SELinux              bool              `json:"seLinux"`
	Reporting            reportingValues   `json:"reporting"`
	PodLabels            map[string]string `json:"podLabels"`
	PodAnnotations       map[string]string `json:"podAnnotations"`
	ConfigMapAnnotations map[string]string `json:"configMapAnnotations"`
	Resources            map[string]any    `json:"resources"`
	Global               map[string]any    `json:"global"` // of a chart that has this one as its part
}

type imageValues struct {
	Repository string `json:"repository"`
	Digest     digest `json:"digest"`
	Tag        string `json:"tag"`
	PullPolicy policy `json:"pullPolicy"`
}

type ringValues struct {
	Name            label          `json:"name" schema:"required"`
	Label           string         `json:"label"`
	Values          []string       `json:"values"`
	Map             mapValue       `json:"map"`
	Nodes           count          `json:"nodes"`
	MaxUnavailable  countOrPercent `json:"maxUnavailable"`
	MinReadySeconds whole          `json:"minReadySeconds"`
	Undo            bool           `json:"undo"`
}

type installerValues struct {
	Enabled            bool `json:"enabled"`
	Bake               bool `json:"bake"`
	AppArmorUnconfined bool `json:"appArmorUnconfined"`
}

type reportingValues struct {
	Enabled bool `json:"enabled"`
}

// mirrorMap is a map as values.
type mirrorMap struct {
	Version    one                         `json:"version"`
	Mirror     []mirrorValues              `json:"mirror"`
	Registry   map[string]registryValues   `json:"registry"`
	Credential map[string]credentialValues `json:"credential"`
	Containerd containerdValues            `json:"containerd"`
	Kubelet    kubeletValues               `json:"kubelet"`
}

type mirrorValues struct {
	Source          string                 `json:"source" schema:"required"`
	Targets         []string               `json:"targets" schema:"required"`
	ShareCredential bool                   `json:"share_credential"`
	Ready           string                 `json:"ready"`
	Header          map[string]headerValue `json:"header"`
}

type registryValues struct {
	Credential   stringOrList           `json:"credential"`
	Deliver      deliver                `json:"deliver"`
	TokenHost    string                 `json:"token_host"`
	CA           stringOrList           `json:"ca"`
	Client       fileOrPairs            `json:"client"`
	SkipVerify   bool                   `json:"skip_verify"`
	DialTimeout  string                 `json:"dial_timeout"`
	Capabilities []capability           `json:"capabilities"`
	Header       map[string]headerValue `json:"header"`
}

type credentialValues struct {
	Kind                kind              `json:"kind"`
	Config              string            `json:"config"`
	Path                string            `json:"path"`
	Command             string            `json:"command"`
	Args                []string          `json:"args"`
	Env                 map[string]string `json:"env"`
	Username            string            `json:"username"`
	Audience            string            `json:"audience"`
	Require             bool              `json:"require"`
	Annotations         []string          `json:"annotations"`
	RequiredAnnotations []string          `json:"required_annotations"`
	Kubeconfig          string            `json:"kubeconfig"`
	Timeout             string            `json:"timeout"`
	ClientID            string            `json:"client_id"`
	TenantID            string            `json:"tenant_id"`
	IdentityBinding     bindingValues     `json:"identity_binding"`
}

type bindingValues struct {
	SNIName   string `json:"sni_name" schema:"required"`
	APIServer string `json:"api_server" schema:"required"`
	CA        string `json:"ca"`
}

type containerdValues struct {
	HostsDir   string `json:"hosts_dir"`
	Config     string `json:"config"`
	Address    string `json:"address"`
	ConfigPath string `json:"config_path"`
	Version    string `json:"version"`
}

type kubeletValues struct {
	Config      string   `json:"config"`
	BinDir      string   `json:"bin_dir"`
	Version     string   `json:"version"`
	Running     bool     `json:"running"`
	MatchImages []string `json:"match_images"`
	Match       match    `json:"match"`
	AuditLog    string   `json:"audit_log"`
	Plugin      plugin   `json:"plugin"`
}
