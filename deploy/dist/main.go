// Dist makes everything that a release has, in one directory: the programs for
// linux/amd64 and linux/arm64, archives, Debian and RPM packages, an OCI image, a
// list of the modules in each program, and SHA256SUMS.
//
// The same commit and the same Go give the same bytes, on any machine and in any
// directory: no file holds a path, a host name or the present time. Start at
// [assemble].
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const usage = `Usage: go run ./dist [FLAGS]

Makes a release of the checkout: programs, packages, an image and their sums.

  -repo DIR    the checkout (default ..)
  -o DIR       where the files go; what is there is replaced (default REPO/dist)

The version, the commit and the time of all files are git's. Outside a checkout,
set VERSION, COMMIT and SOURCE_DATE_EPOCH.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "dist: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	repo := flags.String("repo", "..", "")
	out := flags.String("o", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; run it with -h", flags.Arg(0))
	}
	if *out == "" {
		*out = filepath.Join(*repo, "dist")
	}
	r, err := readRelease(ctx, *repo, os.Getenv)
	if err != nil {
		return err
	}
	return replace(*out, func(dir string) error { return assemble(ctx, *repo, dir, r) })
}

// replace has fill make the content of a directory beside out, and puts it in the
// place of out only if all of it is there.
func replace(out string, fill func(dir string) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), ".dist-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	made := filepath.Join(dir, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	if err := fill(made); err != nil {
		return err
	}
	if _, err := os.Stat(out); err == nil {
		if _, err := os.Stat(filepath.Join(out, sumsFile)); err != nil && !isEmpty(out) {
			return fmt.Errorf("%s is not empty and has no %s, so it was not made by this program; remove it, or name another directory with -o", out, sumsFile)
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return os.Rename(made, out)
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// assemble makes a release in an empty directory.
func assemble(ctx context.Context, repo, dir string, r release) error {
	for _, arch := range arches {
		if err := build(ctx, repo, filepath.Join(dir, "linux_"+arch), arch, r); err != nil {
			return err
		}
	}
	return pack(ctx, repo, dir, r)
}

// pack makes all files of a release from the programs in its directory.
func pack(ctx context.Context, repo, dir string, r release) error {
	texts, err := readTexts(ctx, repo, dir)
	if err != nil {
		return err
	}
	results := make(chan error)
	for _, arch := range arches {
		go func() { results <- packArch(repo, dir, arch, r, texts) }()
	}
	go func() { results <- writeImage(dir, r, texts) }()
	var all error
	for range len(arches) + 1 {
		all = errors.Join(all, <-results)
	}
	if all != nil {
		return all
	}
	for _, program := range programs {
		if err := writeSBOM(dir, program, r); err != nil {
			return err
		}
	}
	return writeSums(dir)
}

// packArch makes the archive and the packages of one architecture.
func packArch(repo, dir, arch string, r release, texts texts) error {
	if err := writeArchive(filepath.Join(dir, strings.Join([]string{name, r.version, "linux", arch}, "_")+".tar.gz"), dir, arch, r, texts); err != nil {
		return err
	}
	for _, format := range []string{"deb", "rpm"} {
		if err := writePackage(repo, dir, format, arch, r, texts); err != nil {
			return err
		}
	}
	return nil
}
