package tokens

import (
	"fmt"
	"io/fs"
	"os"
)

const noFollow, noWait = 0, 0

// supported refuses: whether a directory belongs to this user alone is asked by its mode and
// owner, which say nothing here. So no token is ever written.
func supported(dir string) error {
	return fmt.Errorf("%s is not used, because it cannot be seen on Windows who may read it; run the plugin with --token-cache=\"\"", dir)
}

// The rest is never reached: every use of the cache asks supported first.

func checkOwner(path string, _ fs.FileInfo) error { return supported(path) }

func tryLock(*os.File) bool { return false }

func wait(f *os.File) error { return supported(f.Name()) }
