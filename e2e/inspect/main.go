// An inspect does in a container what an attacker would do there: it prints where it
// can write, which sockets it can reach, and which files hold a text.
package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

func main() {
	text := []byte(os.Args[1])
	for _, file := range []string{"/proc/self/environ", "/proc/1/environ", "/proc/1/cmdline"} {
		report(holds(file, text), "secret", file)
	}
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		switch {
		case path == "/proc" || path == "/sys" || path == "/dev": // the container's own
			return fs.SkipDir
		case err != nil:
			fmt.Println("error", err)
		case d.IsDir():
			report(canCreate(path), "writable", path)
		case d.Type()&fs.ModeSocket != 0:
			c, err := net.Dial("unix", path)
			if err == nil {
				c.Close()
			}
			report(err == nil, "socket", path)
		case d.Type().IsRegular():
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				f.Close()
			}
			report(err == nil, "writable", path)
			report(holds(path, text), "secret", path)
		}
		return nil
	})
	report(err != nil, "error", fmt.Sprint(err))
	fmt.Println("done")
}

func report(is bool, what, path string) {
	if is {
		fmt.Println(what, path)
	}
}

func canCreate(dir string) bool {
	f, err := os.CreateTemp(dir, ".inspect-")
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}

func holds(file string, text []byte) bool {
	data, err := os.ReadFile(file)
	return err == nil && bytes.Contains(data, text)
}
