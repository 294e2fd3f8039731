package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// A kubeletUnit is the kubelet as a unit of systemd.
type kubeletUnit struct {
	named string // by the operator, or "" to find the unit
	seen  string // the last one found
	node  interface {
		KubeletUnit() (unit string, runs bool, err error)
		RestoreKubelet(context.Context) error
	}
}

// unit returns the name of the unit, and whether it is more than a guess. It is
// remembered after the kubelet ends, which may not start again.
func (k *kubeletUnit) unit() (name string, isKnown bool, err error) {
	if k.named != "" {
		return k.named, true, nil
	}
	unit, runs, err := k.node.KubeletUnit()
	if err != nil {
		return "", false, fmt.Errorf("find the kubelet's unit: %w; name it with --kubelet-unit", err)
	}
	isKnown = runs || k.seen != ""
	k.seen = cmp.Or(unit, k.seen)
	return cmp.Or(k.seen, "kubelet.service"), isKnown, nil
}

// readyTime is how long systemd may take to answer.
const readyTime = 5 * time.Second

// Ready implements [watch.Kubelet]. Before a kubelet runs, its unit may have
// any name.
func (k *kubeletUnit) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	bus, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	unit, isKnown, err := k.unit()
	if err != nil || !isKnown {
		return err
	}
	_, err = bus.State(ctx, unit)
	return err
}

// steady is how long a restarted kubelet must stay up. One that rejects its
// configuration ends within a second or two.
const steady = 10 * time.Second

// Restart implements [watch.Kubelet].
func (k *kubeletUnit) Restart(ctx context.Context) error {
	unit, _, err := k.unit()
	if err != nil {
		return &watch.NotRestartedError{Reason: err}
	}
	bus, err := systemd.Connect(ctx)
	if err != nil {
		return &watch.NotRestartedError{Reason: err}
	}
	defer bus.Close()
	var refused *systemd.RefusedError
	if err := bus.Restart(ctx, unit); errors.As(err, &refused) {
		return &watch.NotRestartedError{Reason: err}
	} else if err != nil {
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

// A service reports the watcher's state to systemd.
type service struct {
	systemd.Notifier
	log   *slog.Logger
	ready bool
	line  string // the last reported status
}

func newService(log *slog.Logger) (*service, error) {
	n, err := systemd.NewNotifier()
	return &service{Notifier: n, log: log}, err
}

// tell reports the outcome of a pass: the first says that the node matches its
// map as far as possible, which the kubelet's start waits for.
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
		s.log.Warn("sd_notify failed", "error", err)
	}
}

// keepAlive feeds systemd's watchdog until ctx ends, as long as passes run as
// often as they should.
func (s *service) keepAlive(ctx context.Context, store *watch.StatusStore, late time.Duration) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.KeepAlive(ctx, func() bool { return store.Alive(late) }); err != nil {
			s.log.Warn("sd_notify failed", "error", err)
		}
	}()
	return func() { <-done }
}
