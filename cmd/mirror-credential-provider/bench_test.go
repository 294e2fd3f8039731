//go:build linux

package main_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// BenchmarkStart times whole runs of the plugin beside an empty program that
// reads and writes JSON, and beside the same with azidentity linked into it, in
// turn, and reports medians.
func BenchmarkStart(b *testing.B) {
	cloud, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer cloud.Close()
	if _, err := cloud.AddACR("foo.azurecr.io", azuretest.ACROptions{}); err != nil {
		b.Fatal(err)
	}
	plugin, empty, linked := buildStripped(b, "."), buildStripped(b, "./testdata/empty"), buildStripped(b, "./testdata/linked")
	info, err := os.Stat(plugin)
	if err != nil {
		b.Fatal(err)
	}
	one, many := plantMany(b, 1), plantMany(b, 10_000)
	for _, c := range []struct {
		name, image string
		args        []string
	}{
		{"not-ours", "docker.io/library/busybox", []string{"--audit-log=", filepath.Join(one, mirror.DefaultAzureConfig)}},
		{"mirrored", "source-0.example.com/x", []string{fromRoute, "--root=" + one}},
		{"not-ours-1-route", "quay.io/x", []string{fromRoute, "--root=" + one}},
		{"not-ours-10000-routes", "quay.io/x", []string{fromRoute, "--root=" + many}},
	} {
		b.Run(c.name, func(b *testing.B) {
			stdin := request(c.image)
			var ours, theirs, least []time.Duration
			for range 150 {
				theirs = append(theirs, timeOf(b, cloud, stdin, empty))
				least = append(least, timeOf(b, cloud, stdin, linked))
				ours = append(ours, timeOf(b, cloud, stdin, plugin, c.args...))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(ours), "ms")
			b.ReportMetric(milliseconds(theirs), "empty-ms")
			b.ReportMetric(milliseconds(ours)/milliseconds(theirs), "times-empty")
			b.ReportMetric(milliseconds(least)/milliseconds(theirs), "linked-times-empty")
			b.ReportMetric(peakMiB(b, cloud.Env(), stdin, empty, plugin, c.args...), "peak-MiB")
			b.ReportMetric(float64(info.Size())/(1<<20), "binary-MiB")
		})
	}
}

// BenchmarkRoutes times a mirrored run with 1 route beside one with 10,000, the
// two in turn.
func BenchmarkRoutes(b *testing.B) {
	cloud, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer cloud.Close()
	if _, err := cloud.AddACR("foo.azurecr.io", azuretest.ACROptions{}); err != nil {
		b.Fatal(err)
	}
	plugin := buildStripped(b, ".")
	one, many := plantMany(b, 1), plantMany(b, 10_000)
	stdin := request("source-0.example.com/x")
	var with1, with10000 []time.Duration
	for range 150 {
		with1 = append(with1, timeOf(b, cloud, stdin, plugin, fromRoute, "--root="+one))
		with10000 = append(with10000, timeOf(b, cloud, stdin, plugin, fromRoute, "--root="+many))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(with1), "ms-1")
	b.ReportMetric(milliseconds(with10000), "ms-10000")
	b.ReportMetric(milliseconds(with10000)/milliseconds(with1), "times-1")
}

// BenchmarkTokenCache times a mirrored run with a warm cache beside one that
// needs no credential, the two in turn; then the same with and without the
// audit log. It also counts what 200 runs at once on a cold cache ask for.
func BenchmarkTokenCache(b *testing.B) {
	cloud, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer cloud.Close()
	acrs := map[string]*azuretest.ACR{}
	for _, host := range []string{"foo.azurecr.io", "bar.azurecr.io"} {
		if acrs[host], err = cloud.AddACR(host, azuretest.ACROptions{}); err != nil {
			b.Fatal(err)
		}
	}
	plugin := buildStripped(b, ".")
	root := plantMany(b, 1)
	if err := os.MkdirAll(filepath.Join(root, "var/log"), 0o755); err != nil {
		b.Fatal(err)
	}
	args := []string{fromRoute, "--root=" + root}
	mirrored, others := request("source-0.example.com/x"), request("quay.io/x")
	timeOf(b, cloud, mirrored, plugin, args...) // warms the cache
	var warm, none, silent []time.Duration
	for range 300 {
		warm = append(warm, timeOf(b, cloud, mirrored, plugin, args...))
		none = append(none, timeOf(b, cloud, others, plugin, args...))
		silent = append(silent, timeOf(b, cloud, mirrored, plugin, append(args, "--audit-log=")...))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(warm), "warm-ms")
	b.ReportMetric(milliseconds(none), "no-credential-ms")
	b.ReportMetric(milliseconds(warm)/milliseconds(none), "times-no-credential")
	b.ReportMetric(milliseconds(warm)/milliseconds(silent), "times-no-log")

	if err := os.RemoveAll(filepath.Join(root, "run")); err != nil {
		b.Fatal(err)
	}
	cloud.Identity.Forget()
	acrs["foo.azurecr.io"].Forget()
	started := time.Now()
	identity, exchanges := storm(b, 200, func(int) *exec.Cmd {
		cmd := exec.Command(plugin, args...)
		cmd.Env, cmd.Stdin = cloud.Env(), strings.NewReader(mirrored)
		return cmd
	}, cloud, acrs)
	b.ReportMetric(time.Since(started).Seconds()*1000, "cold-200-ms")
	b.ReportMetric(float64(identity), "cold-200-identity-requests")
	b.ReportMetric(float64(exchanges[0]), "cold-200-exchanges")
}

// BenchmarkModes times whole runs that get a credential in each way there is,
// without the token cache, on loopback. What waits for others is what the log has
// of the steps: from a request to its answer, the handshakes of TLS and the
// stand-in's work included, or for exec from the start of the other program to
// its end. The rest is the plugin's, and so is the processor time, of the whole run.
func BenchmarkModes(b *testing.B) {
	const (
		proved = `{"tenantId":"` + tenant + `","aadClientId":"` + clientID + `",`
		file   = `{"tenantId":"` + podTenant + `","aadClientId":"` + podID + `","aadFederatedTokenFile":"/token"}`
		other  = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"harbor.corp\"]\n[registry.\"harbor.corp\"]\ncredential = \"other\"\n[credential.other]\n"
	)
	key, err := os.ReadFile("../../credential/azure/testdata/client.pem")
	if err != nil {
		b.Fatal(err)
	}
	block, _ := pem.Decode(key)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		b.Fatal(err)
	}
	pod := azuretest.Federation{ClientID: podID, Tenant: podTenant, Assertion: podToken}
	cloud, err := azuretest.Start(azuretest.Options{Certificate: cert, Federations: []azuretest.Federation{pod}})
	if err != nil {
		b.Fatal(err)
	}
	defer cloud.Close()
	if _, err := cloud.AddACR("foo.azurecr.io", azuretest.ACROptions{}); err != nil {
		b.Fatal(err)
	}
	pod.Tenant = "" // the cluster's own
	binding, err := cloud.AddBinding(bindingName, "10.0.0.1:443", pod)
	if err != nil {
		b.Fatal(err)
	}
	// As many CAs as a machine has.
	system, _ := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	own, err := os.ReadFile(cloud.CAFile())
	if err != nil {
		b.Fatal(err)
	}
	env := append(cloud.Env(), "SSL_CERT_FILE="+writeFile(b, b.TempDir(), "ca.pem", string(system)+string(own)))
	plugin, empty := buildStripped(b, "."), buildStripped(b, "./testdata/empty")
	routes := []string{fromRoute, "--token-cache="}
	for _, c := range []struct {
		name, text, azure, stdin string
		args                     []string
	}{
		{"managed-identity", toFoo, configs["managed"], request(mcrImage), routes},
		{"secret", toFoo, configs["principal"], request(mcrImage), routes},
		{"certificate", toFoo, proved + `"aadClientCertPath":"/client.pem"}`, request(mcrImage), routes},
		{"federated-token", toFoo, file, request(mcrImage), routes},
		{"pod", toFoo, configs["managed"], ofPod("foo.azurecr.io/x", podBoth), routes},
		{"binding", toFoo, configs["managed"], ofPod("foo.azurecr.io/x", podClient), append(routes, "--ib-sni-name="+bindingName, "--ib-apiserver-ip="+binding.Address, "--ib-ca=/ca.crt")},
		{"docker-config", other + "kind = \"docker-config\"\npath = \"/config.json\"\n", "", request(mcrImage), routes},
		{"exec", other + "kind = \"exec\"\ncommand = \"/other\"\n", "", request(mcrImage), routes},
		{"flags-mirrored", toFoo, configs["managed"], request(mcrImage), []string{mirror.DefaultAzureConfig, "-r", both}},
		{"flags-unmirrored", toFoo, configs["managed"], request("foo.azurecr.io/x"), []string{mirror.DefaultAzureConfig, "-r", both}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := plant(b, c.text)
			for name, text := range map[string]string{
				mirror.DefaultAzureConfig: c.azure, "/client.pem": string(key), "/token": podToken, "/ca.crt": string(binding.CA),
				"/config.json": `{"auths":{"harbor.corp":{"username":"u","password":"p"}}}`,
				"/other":       "#!/bin/sh\necho '" + head + `"Image","cacheDuration":"0s","auth":{"harbor.corp":{"username":"u","password":"p"}}}` + "'\n",
			} {
				if err := os.Chmod(writeFile(b, n.root, name, text), 0o700); err != nil {
					b.Fatal(err)
				}
			}
			if err := os.Chmod(filepath.Join(n.root, "config.json"), 0o600); err != nil {
				b.Fatal(err)
			}
			var whole, others, ours, processor []time.Duration
			for range 60 {
				took, cpu := costOf(b, env, c.stdin, plugin, append(c.args, "--root="+n.root)...)
				whole, processor = append(whole, took), append(processor, cpu)
			}
			for i, e := range readEvents(b, n) {
				if len(e.Targets) != 1 || e.Outcome != audit.Answered {
					b.Fatalf("a run is %+v", e)
				}
				var waited time.Duration
				for _, step := range e.Targets[0].Steps {
					waited += time.Duration(step.Took)
				}
				if c.name == "exec" {
					waited = time.Duration(e.Targets[0].Took)
				}
				others, ours = append(others, waited), append(ours, whole[i]-waited)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(whole), "ms")
			b.ReportMetric(milliseconds(others), "others-ms")
			b.ReportMetric(milliseconds(ours), "ours-ms")
			b.ReportMetric(milliseconds(processor), "cpu-ms")
			b.ReportMetric(peakMiB(b, env, c.stdin, empty, plugin, append(c.args, "--root="+n.root)...), "peak-MiB")
		})
	}
}

// buildStripped builds a program as it is installed.
func buildStripped(b *testing.B, pkg string) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", name, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}

// plantMany writes a node with as many mirrors as count, all of them at
// foo.azurecr.io, and returns its root.
func plantMany(b *testing.B, count int) string {
	b.Helper()
	root := b.TempDir()
	text := "version = 1\n"
	for i := range count {
		text += fmt.Sprintf("[[mirror]]\nsource = \"source-%d.example.com\"\ntargets = [\"foo.azurecr.io/p\"]\n", i)
	}
	m, err := mirror.Parse("mirrors.toml", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		b.Fatal(err)
	}
	write := func(name string, data []byte) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	writeRoute := func(name string, r route.Route) {
		r.HostsDir = mirror.DefaultHostsDir
		data, err := r.Encode()
		if err != nil {
			b.Fatal(err)
		}
		write(filepath.Join(routesDir, name+".json"), data)
	}
	for i, f := range files {
		write(filepath.Join(mirror.DefaultHostsDir, f.Namespace, hosts.FileName), f.Data)
		g := route.NewGeneration(m, m.Mirrors[i], hosts.Hash(f.Data))
		writeRoute(f.Namespace, route.Route{Source: f.Source.String(), Generations: []route.Generation{g}})
	}
	writeRoute(hosts.Default, route.Route{Source: "*"})
	record, err := armed.Record{HostsDir: mirror.DefaultHostsDir, Alone: true}.Encode()
	if err != nil {
		b.Fatal(err)
	}
	write(filepath.Join(routesDir, "..", armed.FileName), record)
	write(mirror.DefaultAzureConfig, []byte(`{"cloud":"AzurePublicCloud","tenantId":"`+azuretest.DefaultTenant+`","useManagedIdentityExtension":true}`))
	return root
}

// timeOf runs a program to its end and returns how long that took.
func timeOf(b *testing.B, cloud *azuretest.Cloud, stdin, program string, args ...string) time.Duration {
	b.Helper()
	took, _ := costOf(b, cloud.Env(), stdin, program, args...)
	return took
}

// costOf is timeOf, and returns the processor time as well.
func costOf(b *testing.B, env []string, stdin, program string, args ...string) (took, processor time.Duration) {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdin = env, strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v: %s", program, err, &stderr)
	}
	return time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// peakMiB returns the peak memory of a run, measured by a small process.
func peakMiB(b *testing.B, env []string, stdin, small, program string, args ...string) float64 {
	b.Helper()
	cmd := exec.Command(small, append([]string{program}, args...)...)
	cmd.Env, cmd.Stdin = env, strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	kib, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}

func milliseconds(list []time.Duration) float64 {
	slices.Sort(list)
	return list[len(list)/2].Seconds() * 1000
}
