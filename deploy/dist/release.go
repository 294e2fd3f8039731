package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A release is what is stamped into all files.
type release struct {
	version  string    // as the programs print it, such as "v1.2.3"
	packaged string    // as packages compare it, such as "1.2.3"
	commit   string    // the whole hash
	time     time.Time // of all files
}

// readRelease asks git, or the environment if there is no checkout.
func readRelease(ctx context.Context, repo string, env func(string) string) (release, error) {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", repo}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	ask := func(variable string, args ...string) (string, error) {
		if value := env(variable); value != "" {
			return value, nil
		}
		value, err := git(args...)
		if err != nil || value == "" {
			return "", fmt.Errorf("git does not know what %s is in %s (%v); build from a checkout, or set %[1]s", variable, repo, err)
		}
		return value, nil
	}
	version, err1 := ask("VERSION", "describe", "--tags", "--match", "v[0-9]*", "--always", "--dirty", "--abbrev=12")
	commit, err2 := ask("COMMIT", "rev-parse", "HEAD")
	seconds, err3 := ask("SOURCE_DATE_EPOCH", "log", "-1", "--format=%ct")
	if err := errors.Join(err1, err2, err3); err != nil {
		return release{}, err
	}
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return release{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q: write whole seconds since 1970", seconds)
	}
	r := release{version: version, commit: commit, time: time.Unix(epoch, 0).UTC()}
	if r.packaged, err = packageVersion(version, r.time); err != nil {
		return release{}, err
	}
	return r, nil
}

var (
	tagged = regexp.MustCompile(`^v([0-9]+\.[0-9]+\.[0-9]+)(-[0-9A-Za-z.-]+?)??(-[0-9]+-g[0-9a-f]+)?(-dirty)?$`)
	// plain are the versions that dpkg and rpm both take.
	plain = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~]*$`)
)

// packageVersion returns a version that dpkg and rpm order as Git and Semantic
// Versioning do: a release candidate before its release, a commit after the tag
// before it, and what has no tag before all releases, by its time.
func packageVersion(version string, at time.Time) (string, error) {
	dots := func(s string) string { return strings.ReplaceAll(strings.TrimLeft(s, "-"), "-", ".") }
	found := "0.0.0~" + at.Format("20060102150405") + "." + dots(version)
	if m := tagged.FindStringSubmatch(version); m != nil {
		found = m[1]
		if m[2] != "" {
			found += "~" + dots(m[2])
		}
		if behind := dots(m[3] + m[4]); behind != "" {
			found += "+" + behind
		}
	}
	if !plain.MatchString(found) {
		return "", fmt.Errorf("VERSION=%q cannot be the version of a package; write it such as v1.2.3 or v1.2.3-rc.1", version)
	}
	return found, nil
}
