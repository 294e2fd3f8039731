package node

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// containerdUnit is the unit of containerd's packages, without what takes more
// rights than a box has: modules and a lower oom_score_adj. Tests restart it more
// often than a person does.
const containerdUnit = `[Unit]
Description=containerd container runtime
After=network.target local-fs.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`

// kubeadmFlags are what "kubeadm join" writes into kubeadm-flags.env, here for a
// kubelet without an API server.
const kubeadmFlags = `KUBELET_KUBEADM_ARGS="--kubeconfig= --bootstrap-kubeconfig= --root-dir=` + KubeletRoot + ` --hostname-override=node --v=2"
`

const kubeadmFile = KubeletRoot + "/kubeadm-flags.env"

// KubeletLog is where the kubelet of [Packages.InstallKubelet] writes.
const KubeletLog = logs + "/kubelet.log"

// Packages are the files that packages brought onto a node.
type Packages struct{ files []string }

// InstallContainerd installs the containerd whose programs are in bin, with a
// config.toml and nothing in its store, as containerd.service.
func (p *Packages) InstallContainerd(bin, config string) error {
	if err := clean("/var/lib/containerd", filepath.Dir(Socket), filepath.Dir(ContainerdConfig)); err != nil {
		return err
	}
	for _, name := range []string{"containerd", "containerd-shim-runc-v2"} {
		if err := p.program(filepath.Join(bin, name), name); err != nil {
			return err
		}
	}
	if err := p.write(ContainerdConfig, []byte(config), 0o644); err != nil {
		return err
	}
	return WritePackageUnit("containerd.service", containerdUnit)
}

// InstallKubelet installs a kubelet as a layout in a txtar archive has it, whose
// files are named by their paths on the node, with its output in [KubeletLog]. It
// does not start before [Packages.KubeadmJoin].
func (p *Packages) InstallKubelet(file, layout string) error {
	if err := clean(KubeletRoot, manifests); err != nil {
		return err
	}
	archive, err := txtar.ParseFile(layout)
	if err != nil {
		return err
	}
	for _, f := range archive.Files {
		if err := p.write("/"+strings.TrimPrefix(f.Name, "/"), f.Data, 0o644); err != nil {
			return err
		}
	}
	for _, dir := range []string{manifests, logs + "/pods"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := WriteUnit("kubelet.service.d/20-log.conf", "[Service]\nStandardError=append:"+KubeletLog+"\n"); err != nil {
		return err
	}
	return p.program(file, "kubelet")
}

// KubeadmJoin writes what "kubeadm join" writes for the kubelet.
func (p *Packages) KubeadmJoin() error {
	if err := p.write(kubeadmFile, []byte(kubeadmFlags), 0o644); err != nil {
		return err
	}
	return p.write(kubeletFile, []byte(kubeletConfig), 0o644)
}

// Remove removes all files again.
func (p *Packages) Remove() error {
	for _, name := range p.files {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return clean("/var/lib/containerd", filepath.Dir(Socket), KubeletRoot, filepath.Dir(ContainerdConfig))
}

// program installs a program in /usr/bin.
func (p *Packages) program(from, name string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return p.write(filepath.Join("/usr/bin", name), data, 0o755)
}

func (p *Packages) write(name string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	p.files = append(p.files, name)
	if err := os.WriteFile(name, data, mode); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}
