package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// What the demo is about.
const (
	source     = "mcr.microsoft.com"
	target     = "contoso.azurecr.io"
	repository = "oss/kubernetes/pause"
	tag        = "3.10"
	image      = source + "/" + repository + ":" + tag

	mirrorMap = `version = 1

[[mirror]]
source  = "` + source + `"
targets = ["` + target + `"]
`
)

// way is how containerd pulls here.
const way = "resolver"

func ways() map[string]nodetest.Way { return map[string]nodetest.Way{way: nodetest.Resolver} }

// A demo is what one step leaves to the next.
type demo struct {
	printer
	bin, dir string

	cloud  *azuretest.Cloud
	source *azuretest.Source
	target *azuretest.ACR
	digest string
	node   *nodetest.Node
	given  nodetest.Credential
}

func (d *demo) close() error {
	if d.cloud == nil {
		return nil
	}
	return d.cloud.Close()
}

// registries starts the stand-in for Azure and the source.
func (d *demo) registries(context.Context) error {
	d.step("Start two registries, and Azure's sign-in")
	var err error
	if d.cloud, err = azuretest.Start(azuretest.Options{}); err != nil {
		return err
	}
	if d.target, err = d.cloud.AddACR(target, azuretest.ACROptions{}); err != nil {
		return err
	}
	if d.digest, err = d.target.PushRandom(repository, tag); err != nil {
		return err
	}
	if d.source, err = d.cloud.AddSource(source, azuretest.SourceOptions{}); err != nil {
		return err
	}
	d.facts(
		target, "private; holds "+repository+":"+tag,
		source, "asks for a password and records what it gets")
	return nil
}

// layOut makes the node with its map.
func (d *demo) layOut(context.Context) error {
	d.step("Write the map, %s", nodetest.MapFile)
	var err error
	if d.node, err = nodetest.New(filepath.Join(d.dir, "node"), d.bin, d.cloud.Env()); err != nil {
		return err
	}
	d.quote(mirrorMap)
	return d.node.WriteFile(nodetest.MapFile, mirrorMap)
}

// apply runs the manager, twice.
func (d *demo) apply(ctx context.Context) error {
	d.step("mirrorcred apply --root %s", d.node.Root)
	run, err := d.node.Apply(ctx)
	if err == nil && run.Code != 0 {
		err = fmt.Errorf("mirrorcred apply ended with exit code %d: %s", run.Code, run.Stderr)
	}
	if err != nil {
		return err
	}
	d.quote(run.Stdout)
	path := filepath.Join(nodetest.HostsDir, source, "hosts.toml")
	data, err := input.ReadFile(d.node.Path(path), 0)
	if err != nil {
		return err
	}
	d.printf("\n   containerd's side, %s:\n\n", path)
	d.quote(shortHeader(string(data)))
	data, err = input.ReadFile(d.node.Path(nodetest.KubeletConfig), 0)
	if err != nil {
		return err
	}
	d.printf("\n   the kubelet's side, %s:\n\n", nodetest.KubeletConfig)
	d.quote(string(data))

	again, err := d.node.Apply(ctx)
	if err == nil && again.Stdout != "in sync: 1 source\n" {
		err = fmt.Errorf("mirrorcred apply changed something when run again: %s%s", again.Stdout, again.Stderr)
	}
	return err
}

// refusedByTarget pulls without a credential: containerd asks the target, which
// refuses it.
func (d *demo) refusedByTarget(ctx context.Context) error {
	d.step("containerd pulls %s, without a credential", image)
	pulled, err := d.node.Pull(ctx, way, image, nodetest.Credential{})
	switch {
	case err != nil:
		return err
	case pulled.Fault == "":
		return fmt.Errorf("%s served the image without a credential", target)
	case !strings.Contains(pulled.Fault, "401"):
		return fmt.Errorf("the pull without a credential was not refused with 401, but: %s", pulled.Fault)
	case len(d.target.Requests()) == 0:
		return fmt.Errorf("containerd did not ask %s", target)
	}
	d.facts("refused", "401 Unauthorized, by "+target)
	d.target.Forget()
	return nil
}

// ask executes the plugin.
func (d *demo) ask(ctx context.Context) error {
	d.step("The kubelet executes the plugin for the image")
	answer, err := d.node.RunPlugin(ctx, image)
	switch {
	case err != nil:
		return err
	case answer.Provider.Name == "":
		return fmt.Errorf("no provider in %s matches %s", nodetest.KubeletConfig, image)
	case answer.Run.Code != 0:
		return fmt.Errorf("the plugin ended with exit code %d: %s", answer.Run.Code, answer.Run.Stderr)
	case len(answer.Credentials) != 1:
		return fmt.Errorf("the plugin returned %d credentials for the image; want 1", len(answer.Credentials))
	}
	d.given = answer.Credentials[0]
	d.facts(
		"matched", answer.Pattern,
		"program", filepath.Join(nodetest.BinDir, answer.Provider.Name),
		"argument", strings.Join(answer.Provider.Args, " "),
		"for the demo", "--root="+d.node.Root,
		"stdin", "")
	d.quote(d.shorten(indentJSON(answer.Request)))
	d.facts("stdout", "")
	d.quote(d.shorten(indentJSON([]byte(answer.Run.Stdout))))
	if _, ok := answer.Response.Auth[source]; !ok {
		return fmt.Errorf("the plugin's answer has no key %q", source)
	}
	d.target.Forget()
	return nil
}

// pull pulls with the plugin's credential.
func (d *demo) pull(ctx context.Context) error {
	d.step("containerd pulls %s, with that credential", image)
	pulled, err := d.node.Pull(ctx, way, image, d.given)
	switch {
	case err != nil:
		return err
	case pulled.Fault != "":
		return errors.New(pulled.Fault)
	case pulled.Digest != d.digest:
		return fmt.Errorf("containerd pulled %s; %s holds %s", pulled.Digest, target, d.digest)
	}
	d.facts(
		"manifest", pulled.Digest,
		"blobs", fmt.Sprintf("%d, each verified by its digest", len(pulled.Blobs)),
		"size", fmt.Sprintf("%d bytes", pulled.Bytes))
	return nil
}

// seen prints what the registries were asked, which proves where the image
// came from.
func (d *demo) seen(context.Context) error {
	d.step("What the registries saw")
	d.printf("   %s, during that pull: what was asked, and with what\n", target)
	for _, r := range d.target.Requests() {
		d.printf("     %-4s %s\n", r.Method, d.shorten(requestLine(r)))
	}
	asked, offered := len(d.source.Requests()), len(d.source.Offered())
	d.printf("   %s, from the beginning to the end\n     %s, %s\n", source, count(asked, "request"), count(offered, "credential"))
	switch refused := d.cloud.Refused(); {
	case asked > 0:
		return fmt.Errorf("%s was asked %d times; want 0", source, asked)
	case len(refused) > 0:
		return fmt.Errorf("other hosts were asked: %s", strings.Join(refused, ", "))
	}
	return nil
}
