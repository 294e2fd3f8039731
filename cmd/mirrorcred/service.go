package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// A kubeletUnit is the kubelet as a unit of systemd.
type kubeletUnit struct {
	named string // by the operator, "" where the unit is to be found
	seen  string // what was found last
	node  interface {
		KubeletUnit() (string, error)
		RestoreKubelet(context.Context) error
	}
}

// unit returns the name of the unit. It outlives the kubelet, which may not
// come up again.
func (k *kubeletUnit) unit() (string, error) {
	if k.named != "" {
		return k.named, nil
	}
	unit, err := k.node.KubeletUnit()
	if err != nil {
		return "", fmt.Errorf("look for the kubelet's unit: %w; name it with --kubelet-unit", err)
	}
	k.seen = cmp.Or(unit, k.seen, "kubelet.service")
	return k.seen, nil
}

// steady is how long a restarted kubelet has to stay up. One that refuses its
// configuration ends within a second or two.
const steady = 10 * time.Second

// Restart implements [watch.Kubelet].
func (k *kubeletUnit) Restart(ctx context.Context) error {
	unit, err := k.unit()
	if err != nil {
		return err
	}
	bus, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := bus.Restart(ctx, unit); err != nil {
		return err
	}
	first, err := bus.State(ctx, unit)
	if err != nil {
		return err
	}
	up := time.Now()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is %s/%s: %w; see why with: journalctl -u %s", unit, first.Active, first.Sub, ctx.Err(), unit)
		case <-ticker.C:
		}
		now, err := bus.State(ctx, unit)
		switch {
		case err != nil:
			return err
		case now.Active == "failed" || strings.HasPrefix(now.Sub, "auto-restart") || now.Restarts > first.Restarts || first.MainPID != 0 && now.MainPID != first.MainPID:
			return fmt.Errorf("%s did not stay up (%s/%s, %s); see why with: journalctl -u %s", unit, now.Active, now.Sub, now.Result, unit)
		case now.Active == "active" && time.Since(up) >= steady:
			return nil
		}
	}
}

// Restore implements [watch.Kubelet].
func (k *kubeletUnit) Restore(ctx context.Context) error { return k.node.RestoreKubelet(ctx) }

// A service tells systemd how the watcher fares.
type service struct {
	systemd.Notifier
	log   *slog.Logger
	ready bool
	line  string // the status that was told last
}

func newService(log *slog.Logger) (*service, error) {
	n, err := systemd.NewNotifier()
	return &service{Notifier: n, log: log}, err
}

// tell tells the outcome of a look: the first says that the node was brought to
// its map as far as it can be, which is what the kubelet's start waits for.
func (s *service) tell(status watch.Status) {
	line := status.Line()
	var err error
	switch {
	case !s.ready:
		s.ready = true
		err = s.Ready(line)
	case line != s.line:
		err = s.Status(line)
	}
	s.line = line
	if err != nil {
		s.log.Warn("service manager not told", "error", err)
	}
}

// keepAlive keeps systemd's watchdog quiet until ctx ends, as long as the node
// is looked at as often as it should be.
func (s *service) keepAlive(ctx context.Context, board *watch.Board, late time.Duration) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.KeepAlive(ctx, func() bool { return board.Alive(late) }); err != nil {
			s.log.Warn("service manager not told", "error", err)
		}
	}()
	return func() { <-done }
}
