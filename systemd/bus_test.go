package systemd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

const (
	systemdName = "org.freedesktop.systemd1"
	systemdPath = "/org/freedesktop/systemd1"
	kubelet     = "kubelet.service"
)

// A fakeSystemd answers on a bus as systemd does.
type fakeSystemd struct {
	conn *dbus.Conn
	jobs chan string // the units of the restarts that were asked for

	mu    sync.Mutex // guards what follows; a call comes in a goroutine of its own
	units map[string]map[string]dbus.Variant
	// restart is what becomes of a restart: the result of a job that ends
	// even before the call is answered, "" for one that finish ends.
	restart string
	refuse  *dbus.Error
}

func (f *fakeSystemd) RestartUnit(unit, mode string) (dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	restart, refuse := f.restart, f.refuse
	f.mu.Unlock()
	if refuse != nil {
		return "", refuse
	}
	if mode != "replace" {
		return "", dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"mode " + mode})
	}
	if restart != "" {
		f.finish(unit, restart)
	}
	f.jobs <- unit
	return systemdPath + "/job/7", nil
}

func (f *fakeSystemd) Reload() *dbus.Error {
	f.jobs <- "reload"
	return nil
}

// script says what becomes of the restarts to come.
func (f *fakeSystemd) script(result string, refuse *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restart, f.refuse = result, refuse
}

// finish ends the job of a restart, after that of another unit.
func (f *fakeSystemd) finish(unit, result string) {
	for id, of := range []string{6: "other.service", 7: unit} {
		if of != "" {
			f.conn.Emit(systemdPath, systemdName+".Manager.JobRemoved",
				uint32(id), dbus.ObjectPath(fmt.Sprintf("%s/job/%d", systemdPath, id)), of, result)
		}
	}
}

// A properties object answers for the manager and for the units.
type properties struct{ f *fakeSystemd }

func (properties) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	return dbus.MakeVariant("252 (fake)"), nil
}

// GetAll answers as systemd does for a unit that it does not have: it has one
// that is not found.
func (p properties) GetAll(msg dbus.Message, iface string) (map[string]dbus.Variant, *dbus.Error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	object, _ := msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	for unit, props := range p.f.units {
		if sd.PathBusEscape(unit) == path.Base(string(object)) {
			return props, nil
		}
	}
	return map[string]dbus.Variant{
		"LoadState": dbus.MakeVariant("not-found"), "ActiveState": dbus.MakeVariant("inactive"),
	}, nil
}

// startBus starts a bus of the test's own, makes it the system bus, and returns
// its address with what stops it.
func startBus(t *testing.T) (address string, stop func()) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Fatalf("%v; install it: apt-get install dbus-daemon", err)
	}
	// Not t.TempDir: the path of a socket has 108 bytes at most.
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, `<busconfig>
  <listen>unix:path=%s/socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>`, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config-file="+config, "--nofork", "--print-address=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(stop)
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("dbus-daemon prints no address: %v", err)
	}
	address = strings.TrimSpace(address)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	return address, stop
}

// startSystemd starts a bus with a fake systemd on it.
func startSystemd(t *testing.T) (f *fakeSystemd, stop func()) {
	t.Helper()
	address, stop := startBus(t)
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f = &fakeSystemd{conn: conn, jobs: make(chan string, 1), units: map[string]map[string]dbus.Variant{}}
	err = errors.Join(
		conn.Export(f, systemdPath, systemdName+".Manager"),
		conn.Export(properties{f}, systemdPath, "org.freedesktop.DBus.Properties"),
		conn.ExportSubtree(properties{f}, systemdPath+"/unit", "org.freedesktop.DBus.Properties"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(systemdName, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return f, stop
}

func connectTest(t *testing.T) *Bus {
	t.Helper()
	b, err := Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestReload(t *testing.T) {
	f, stop := startSystemd(t)
	b := connectTest(t)
	if err := b.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-f.jobs; got != "reload" {
		t.Errorf("Reload asked for %q", got)
	}
	stop()
	if err := b.Reload(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "; run: systemctl daemon-reload") {
		t.Errorf("Reload without a bus = %v", err)
	}
}

func TestRestartResults(t *testing.T) {
	f, _ := startSystemd(t)
	b := connectTest(t)
	for result, want := range map[string]string{
		"done":       "",
		"failed":     `restart kubelet.service: systemd's job ended with "failed"; see why with: journalctl -u kubelet.service`,
		"timeout":    `restart kubelet.service: systemd's job ended with "timeout"; see why with: journalctl -u kubelet.service`,
		"dependency": `restart kubelet.service: systemd's job ended with "dependency"; see why with: journalctl -u kubelet.service`,
		"canceled":   `restart kubelet.service: systemd's job ended with "canceled"; see why with: journalctl -u kubelet.service`,
	} {
		f.script(result, nil)
		if err := b.Restart(t.Context(), kubelet); message(err) != want {
			t.Errorf("a job that ends with %q: Restart = %v; want %s", result, err, want)
		}
		if unit := <-f.jobs; unit != kubelet {
			t.Errorf("restarted %s; want %s", unit, kubelet)
		}
	}
}

// TestRestartWaits lets a job end, time out and lose its bus after it began.
func TestRestartWaits(t *testing.T) {
	f, stop := startSystemd(t)
	b := connectTest(t)
	restart := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() { done <- b.Restart(ctx, kubelet) }()
		<-f.jobs
		select {
		case err := <-done:
			t.Fatalf("Restart = %v before the job has ended", err)
		default:
		}
		return done
	}

	done := restart(t.Context())
	f.finish(kubelet, "done")
	if err := <-done; err != nil {
		t.Errorf("Restart = %v; want it done", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done = restart(ctx)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Restart = %v; want it to end with its context", err)
	}

	done = restart(t.Context())
	stop()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "the connection to systemd was lost") {
		t.Errorf("Restart = %v; want it to say that the bus is gone", err)
	}
	if _, err := b.State(t.Context(), kubelet); err == nil || !strings.Contains(err.Error(), "; connect again") {
		t.Errorf("State = %v; want it to say that the bus is gone", err)
	}
}

func TestRestartRefused(t *testing.T) {
	f, _ := startSystemd(t)
	b := connectTest(t)
	for name, want := range map[string]string{
		"org.freedesktop.systemd1.NoSuchUnit":     `no unit "kubelet.service" on this node; see which there are with: systemctl list-unit-files`,
		"org.freedesktop.systemd1.UnitMasked":     `restart kubelet.service: the unit is masked; run systemctl unmask kubelet.service`,
		"org.freedesktop.DBus.Error.AccessDenied": `restart kubelet.service: what systemd says; run this as root`,
		"org.freedesktop.DBus.Error.InvalidArgs":  `restart kubelet.service: "kubelet.service" is not the name of a unit; write it in full, as in "kubelet.service"`,
		"org.freedesktop.systemd1.LoadFailed":     `restart kubelet.service: what systemd says; see systemctl status kubelet.service`,
	} {
		f.script("", dbus.NewError(name, []any{"what systemd says"}))
		if err := b.Restart(t.Context(), kubelet); message(err) != want || !errors.As(err, new(*RefusedError)) {
			t.Errorf("%s: Restart = %T %v; want a RefusedError: %s", name, err, err, want)
		}
	}
}

func TestState(t *testing.T) {
	f, _ := startSystemd(t)
	b := connectTest(t)
	f.mu.Lock()
	f.units[kubelet] = map[string]dbus.Variant{
		"LoadState":                       dbus.MakeVariant("loaded"),
		"ActiveState":                     dbus.MakeVariant("active"),
		"SubState":                        dbus.MakeVariant("running"),
		"Result":                          dbus.MakeVariant("success"),
		"MainPID":                         dbus.MakeVariant(uint32(4711)),
		"NRestarts":                       dbus.MakeVariant(uint32(2)),
		"ExecMainStartTimestampMonotonic": dbus.MakeVariant(uint64(61_000_001)),
		"ActiveEnterTimestampMonotonic":   dbus.MakeVariant(uint64(62_000_000)),
	}
	f.units["multi-user.target"] = map[string]dbus.Variant{
		"LoadState":   dbus.MakeVariant("loaded"),
		"ActiveState": dbus.MakeVariant("active"),
		"SubState":    dbus.MakeVariant("active"),
	}
	// Its file was removed, and it runs on.
	f.units["removed.service"] = map[string]dbus.Variant{
		"LoadState":   dbus.MakeVariant("not-found"),
		"ActiveState": dbus.MakeVariant("active"),
	}
	f.mu.Unlock()
	for unit, want := range map[string]State{
		kubelet: {Active: "active", Sub: "running", Result: "success", MainPID: 4711, Restarts: 2,
			Started: time.Minute + time.Second + time.Microsecond, Entered: time.Minute + 2*time.Second},
		"multi-user.target": {Active: "active", Sub: "active"},
		"removed.service":   {Active: "active"},
	} {
		if got, err := b.State(t.Context(), unit); err != nil || got != want {
			t.Errorf("State(%q) = %+v, %v; want %+v", unit, got, err, want)
		}
	}
	want := `no unit "kubelt.service" on this node; see which there are with: systemctl list-unit-files`
	if _, err := b.State(t.Context(), "kubelt.service"); message(err) != want {
		t.Errorf("State of no unit = %v; want %s", err, want)
	}
}

// TestConnectContext checks that a context bounds the connecting alone.
func TestConnectContext(t *testing.T) {
	f, _ := startSystemd(t)
	f.script("done", nil)
	ctx, cancel := context.WithCancel(t.Context())
	b, err := Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cancel()
	if err := b.Restart(t.Context(), kubelet); err != nil {
		t.Errorf("Restart = %v after the context of Connect has ended", err)
	}
}

// TestConnectMute connects to a bus that does not answer.
func TestConnectMute(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+l.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := connect(ctx, "unix:path="+dir+"/private")
		done <- err
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v; want it to end with its context", err)
	}
}

func TestConnectWithoutBus(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+dir+"/bus")
	_, err := connect(t.Context(), "unix:path="+dir+"/private")
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(message(err), "cannot reach systemd: ") || !strings.Contains(message(err), dir+"/bus") {
		t.Errorf("Connect = %v; want it to say that there is no bus, and where", err)
	}
}

// TestConnectWithoutSystemd connects to a bus on which another service manager's
// machine has no systemd.
func TestConnectWithoutSystemd(t *testing.T) {
	startBus(t)
	_, err := connect(t.Context(), "unix:path="+t.TempDir()+"/private")
	if err == nil || !strings.HasPrefix(err.Error(), "cannot reach systemd: ") || !strings.Contains(err.Error(), systemdName) {
		t.Errorf("Connect = %v; want it to say that there is no systemd", err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
