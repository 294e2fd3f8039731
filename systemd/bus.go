package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// privateBus is the socket on which systemd itself listens, for root alone. It is used
// if there is no bus or the bus is down.
const privateBus = "unix:path=/run/systemd/private"

// A Bus is a connection to the systemd of this machine. Several goroutines may
// use it.
type Bus struct {
	conn *sd.Conn
	lost <-chan struct{} // closed with the connection
	end  context.CancelFunc
}

// Connect connects to systemd, over the system bus or directly. ctx limits the
// time to connect, not the connection. The caller must close the Bus.
func Connect(ctx context.Context) (*Bus, error) {
	return connect(ctx, privateBus)
}

func connect(ctx context.Context, private string) (*Bus, error) {
	b, err := dial(ctx, dbus.SystemBusPrivate, (*dbus.Conn).Hello)
	if err == nil {
		return b, nil
	}
	// The error of the bus tells more than that of the private socket.
	if os.Geteuid() == 0 {
		direct := func(opts ...dbus.ConnOption) (*dbus.Conn, error) { return dbus.Dial(private, opts...) }
		if b, directErr := dial(ctx, direct, func(*dbus.Conn) error { return nil }); directErr == nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("cannot reach systemd: %w; in a container, mount the node's /run/dbus; if the node has another service manager, restart its services with that", err)
}

// dial opens the two connections that go-systemd needs, one for calls and one for
// signals. If either ends, both do.
func dial(ctx context.Context, open func(...dbus.ConnOption) (*dbus.Conn, error), hello func(*dbus.Conn) error) (_ *Bus, err error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	connected := context.AfterFunc(ctx, end)
	defer func() {
		if !connected() {
			err = context.Cause(ctx)
		}
		if err != nil {
			end()
		}
	}()
	conn, err := sd.NewConnection(func() (*dbus.Conn, error) {
		conn, err := open(dbus.WithContext(life))
		if err != nil {
			return nil, err
		}
		context.AfterFunc(conn.Context(), end)
		// By number: looking up a name needs a libc.
		if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(fmt.Sprint(os.Getuid()))}); err != nil {
			conn.Close()
			return nil, err
		}
		if err := hello(conn); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	})
	if err != nil {
		return nil, err
	}
	// A bus may be there without a systemd on it.
	if _, err := conn.GetManagerProperty("Version"); err != nil {
		return nil, err
	}
	return &Bus{conn, life.Done(), end}, nil
}

// Close ends the connection.
func (b *Bus) Close() {
	b.conn.Close()
	b.end()
}

// A RefusedError says why systemd rejected a request.
type RefusedError struct{ reason error }

// Error returns the reason.
func (e *RefusedError) Error() string { return e.reason.Error() }

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.reason }

// Restart restarts a unit, given by its full name such as "kubelet.service", and
// returns when systemd has done that. A service without readiness notices may still
// fail soon after, so check its [Bus.State] for some time.
//
// A [RefusedError] means that the unit runs as before.
//
// A service that is ordered before the unit must notify systemd that it is ready before
// it calls Restart: systemd restarts the unit only after that.
func (b *Bus) Restart(ctx context.Context, unit string) error {
	done := make(chan string, 1)
	if _, err := b.conn.RestartUnitContext(ctx, unit, "replace", done); err != nil {
		described := describe("restart "+unit, unit, err)
		if errors.As(err, new(dbus.Error)) {
			return &RefusedError{described}
		}
		return described
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("restart %s: systemd's job ended with %q; see why with: journalctl -u %s", unit, result, unit)
		}
		return nil
	case <-b.lost:
		return fmt.Errorf("restart %s: the connection to systemd was lost before its job ended; see how it went with: systemctl status %s", unit, unit)
	case <-ctx.Done():
		return fmt.Errorf("restart %s: systemd's job has not ended: %w; see what it waits for with: systemctl list-jobs, journalctl -u %s", unit, ctx.Err(), unit)
	}
}

// Reload makes systemd read its units again.
func (b *Bus) Reload(ctx context.Context) error {
	if err := b.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("have systemd read its units again: %w; run: systemctl daemon-reload", err)
	}
	return nil
}

// A State is the state of a unit at one moment. Durations are times since boot
// on CLOCK_MONOTONIC, which does not advance while the machine is suspended,
// unlike CLOCK_BOOTTIME.
type State struct {
	Active   string        // "active", "activating", "deactivating", "inactive", "failed", "reloading"
	Sub      string        // of a service: "running", "dead", "auto-restart" and so on
	Result   string        // how a service last ended: "success", "exit-code", "oom-kill" and so on
	MainPID  int           // 0 if no process runs
	Restarts int           // how often systemd has started it again by itself
	Started  time.Duration // when the main process was last started; 0 never
	// StartedAt is Started by the wall clock, as it was then; the zero time
	// if it never was.
	StartedAt time.Time
	Entered   time.Duration // when the unit last became active; 0 never
}

// State returns the state of a unit at one moment.
func (b *Bus) State(ctx context.Context, unit string) (State, error) {
	// All interfaces in one call: two would show two moments.
	props, err := b.conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return State{}, describe("ask systemd for "+unit, unit, err)
	}
	if load, _ := props["LoadState"].(string); load == "not-found" && props["ActiveState"] == "inactive" {
		return State{}, noSuchUnit(unit)
	}
	var s State
	var ok bool
	if s.Active, ok = props["ActiveState"].(string); !ok {
		return State{}, fmt.Errorf("ask systemd for %s: it does not report ActiveState; see: systemctl show %s", unit, unit)
	}
	// Units other than services lack the rest.
	s.Sub, _ = props["SubState"].(string)
	s.Result, _ = props["Result"].(string)
	pid, _ := props["MainPID"].(uint32)
	restarts, _ := props["NRestarts"].(uint32)
	s.MainPID, s.Restarts = int(pid), int(restarts)
	s.Started = monotonic(props["ExecMainStartTimestampMonotonic"])
	if usec, _ := props["ExecMainStartTimestamp"].(uint64); usec > 0 {
		s.StartedAt = time.UnixMicro(int64(usec))
	}
	s.Entered = monotonic(props["ActiveEnterTimestampMonotonic"])
	return s, nil
}

func monotonic(v any) time.Duration {
	usec, _ := v.(uint64)
	return time.Duration(usec) * time.Microsecond
}

func noSuchUnit(unit string) error {
	return fmt.Errorf("no unit %q on this node; see which there are with: systemctl list-unit-files", unit)
}

// describe adds the remedy to the error of a call.
func describe(doing, unit string, err error) error {
	var fault dbus.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: systemd has not answered: %w", doing, err)
	case !errors.As(err, &fault):
		return fmt.Errorf("%s: the connection to systemd was lost (%w); connect again", doing, err)
	}
	switch fault.Name {
	case "org.freedesktop.systemd1.NoSuchUnit":
		return noSuchUnit(unit)
	case "org.freedesktop.systemd1.UnitMasked":
		return fmt.Errorf("%s: the unit is masked; run systemctl unmask %s", doing, unit)
	case "org.freedesktop.DBus.Error.InvalidArgs":
		return fmt.Errorf("%s: %q is not the name of a unit; write it in full, as in \"kubelet.service\"", doing, unit)
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
		return fmt.Errorf("%s: %w; run this as root", doing, err)
	}
	return fmt.Errorf("%s: %w; see systemctl status %s", doing, err, unit)
}
