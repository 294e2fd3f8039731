package containerdconfig

import "testing"

// TestSandbox holds the pause image that each line uses, and the place that sets
// it.
func TestSandbox(t *testing.T) {
	const mine = "mirror.corp/pause:3.10"
	defaults := map[string]string{
		"1.7": "registry.k8s.io/pause:3.8", "2.0": "registry.k8s.io/pause:3.10", "2.1": "registry.k8s.io/pause:3.10",
		"2.2": "registry.k8s.io/pause:3.10.1", "2.3": "registry.k8s.io/pause:3.10.2", "2.4": "registry.k8s.io/pause:3.10.2",
	}
	early := "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '" + mine + "'\n"
	late := "version = 3\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\nother = 'x'\nsandbox = '" + mine + "'\n"
	for name, tt := range map[string]struct {
		files memory
		lines []string
		want  string // "" is the default
		line  int
	}{
		"no file":             {memory{}, []string{"1.7", "2.0", "2.1", "2.2", "2.3", "2.4"}, "", 0},
		"version 2":           {memory{main: early}, []string{"1.7", "2.0", "2.1", "2.2", "2.3", "2.4"}, mine, 3},
		"no version":          {memory{main: "[plugins.cri]\nsandbox_image = '" + mine + "'\n"}, []string{"1.7", "2.4"}, mine, 2},
		"version 3":           {memory{main: late}, []string{"2.0", "2.1", "2.2", "2.3", "2.4"}, mine, 4},
		"another pinned one":  {memory{main: "version = 3\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\nother = 'x'\n"}, []string{"2.0", "2.4"}, "", 0},
		"another table":       {memory{main: "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nenable_selinux = true\n"}, []string{"1.7", "2.0", "2.4"}, "", 0},
		"the same as default": {memory{main: "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'registry.k8s.io/pause:3.8'\n"}, []string{"1.7"}, "", 3},
		"a drop-in": {memory{
			main:                            "version = 2\n" + imports + "[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'first/pause:1'\n",
			"/etc/containerd/conf.d/a.toml": early,
		}, []string{"1.7", "2.0", "2.4"}, mine, 3},
		// 1.x replaces the whole table of the plugin.
		"a drop-in without it": {memory{
			main:                            "version = 2\n" + imports + "[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '" + mine + "'\n",
			"/etc/containerd/conf.d/a.toml": "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nenable_selinux = true\n",
		}, []string{"1.7"}, "", 0},
	} {
		for _, s := range tt.lines {
			c, err := Effective(tt.files, main, version(t, s))
			want := tt.want
			if want == "" {
				want = defaults[s]
			}
			if err != nil || c.Sandbox != want || c.SandboxSet.Line != tt.line {
				t.Errorf("%s, %s: %q set by %+v, %v; want %q on line %d", name, s, c.Sandbox, c.SandboxSet, err, want, tt.line)
			}
		}
	}
}
