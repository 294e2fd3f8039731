package bootstrap

import (
	"context"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
)

// A stage is when undo puts a file back. The order is that of the constants, and
// [Joining.Undo] is the only function that knows it:
//
//   - mirrorcred's services stop, or they would put back what is removed.
//   - The mirrors are withdrawn: no new pull gets a credential, and hosts.toml stays
//     for the pulls that have one.
//   - The kubelet's providers and flags are put back, and a kubelet that runs is
//     restarted: then no pull has a credential any more, and no kubelet needs the
//     plugin.
//   - hosts.toml goes, in the directories that hosts_dir named before too, and the
//     files of other programs that it replaced return.
//   - Everything else: containerd's configuration, the units, and the programs.
type stage int

const (
	stageKubelet stage = iota
	stageMirrors
	stageRest
)

// stageOf returns the stage of a recorded change.
func stageOf(e entry) stage {
	switch {
	case e.Phase == Flags, e.Part == partProviders:
		return stageKubelet
	case e.Restore:
		return stageMirrors
	}
	return stageRest
}

// An Undone is what undo did not do.
type Undone struct {
	// Commands are those to run on the node, if it is running.
	Commands [][]string
	// Kept are the files that stay as they are.
	Kept []Kept
	// Waiting says what the rest waits for, such as pulls that may still have a
	// credential.
	Waiting []string
	// Copies is a directory with copies of files that "apply --adopt" replaced and
	// that are not back; "" if there are none.
	Copies string
}

// Undo restores the node to its state before bake and join, in the safe order. It can be
// run again if it was killed, or if something waits. The caller holds the lock.
func (j *Joining) Undo(ctx context.Context) (u Undone, err error) {
	if err := j.stopService(ctx); err != nil {
		return u, err
	}
	if _, _, err = j.drain(ctx); err != nil {
		return u, err
	}
	if err := j.back(ctx, stageKubelet, &u); err != nil {
		return u, err
	}
	// The second time the kubelet has been restarted, and hosts.toml can go.
	applied, waiting, err := j.drain(ctx)
	if u.Waiting = waiting; err != nil || len(waiting) > 0 {
		return u, err
	}
	old, edited, err := j.planOldTrees(applied.Next.OldTrees)
	if err != nil {
		return u, err
	}
	if u.Kept = append(u.Kept, edited...); len(old) > 0 {
		if err := j.dropOldTrees(old); err != nil {
			return u, err
		}
	}
	for _, s := range []stage{stageMirrors, stageRest} {
		if err := j.back(ctx, s, &u); err != nil {
			return u, err
		}
	}
	if len(u.Kept) > 0 {
		return u, nil
	}
	u.Copies, err = j.forgetAll()
	return u, err
}

// back puts back the files of one stage.
func (j *Joining) back(ctx context.Context, s stage, u *Undone) error {
	p, kept, err := j.planStage(ctx, s)
	if err != nil {
		return err
	}
	u.Kept = append(u.Kept, kept...)
	commands, err := j.carryBack(ctx, s, p, kept)
	for _, c := range commands {
		if !slices.ContainsFunc(u.Commands, func(other []string) bool { return slices.Equal(c, other) }) {
			u.Commands = append(u.Commands, c)
		}
	}
	return err
}

// PlanUndo plans the files and commands of undo, in order. The removal of the mirrors is
// not in the plan.
func (j *Joining) PlanUndo(ctx context.Context) (all Plan, kept []Kept, err error) {
	for _, s := range []stage{stageKubelet, stageMirrors, stageRest} {
		if s == stageMirrors {
			steps, edited, err := j.planOldTreesNow(ctx)
			if err != nil {
				return all, kept, err
			}
			all.Steps, kept = append(all.Steps, steps...), append(kept, edited...)
		}
		p, more, err := j.planStage(ctx, s)
		if err != nil {
			return all, kept, err
		}
		all.Steps, all.Notes = append(all.Steps, p.Steps...), append(all.Notes, p.Notes...)
		kept = append(kept, more...)
	}
	return all, kept, nil
}

// planStage plans one stage, with its commands.
func (j *Joining) planStage(ctx context.Context, s stage) (p Plan, kept []Kept, err error) {
	if s == stageRest {
		return j.planRest(ctx)
	}
	if p, kept, err = j.planBack(s, nil); err != nil || s != stageKubelet || len(p.Steps) == 0 {
		return p, kept, err
	}
	if slices.ContainsFunc(p.Steps, func(s Step) bool { return strings.HasPrefix(s.Path, "/etc/systemd/") }) {
		p.Steps = append(p.Steps, daemonReload)
	}
	unit := "kubelet.service"
	if k, err := kubeletflags.Find(j.Mirrors.Files()); err == nil {
		unit = k.Unit
	}
	restart, err := j.restart(unit)
	if restart != nil {
		restart.Text = "then no kubelet has a credential or needs the plugin"
		p.Steps = append(p.Steps, *restart)
	}
	return p, kept, err
}
