package input

import (
	"io/fs"
	"os"
)

// Open opens a regular file for reading, and follows links. It is for files that are
// not read whole: the caller limits what it reads.
func Open(path string) (*os.File, fs.FileInfo, error) { return open(path, os.Stat) }

func open(path string, stat func(string) (fs.FileInfo, error)) (*os.File, fs.FileInfo, error) {
	// To open a named pipe or a device may wait, so its kind is asked first.
	info, err := stat(path)
	if err == nil {
		err = irregular(info.Mode())
		if err != nil {
			err = fault("open", path, err)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err = f.Stat()
	if err == nil {
		err = irregular(info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, nil, fault("open", path, err)
	}
	return f, info, nil
}

func read(path string, max int64, follow bool) ([]byte, fs.FileInfo, error) {
	stat := os.Stat
	if !follow {
		stat = os.Lstat
	}
	f, info, err := open(path, stat)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := readUpTo(f, info.Size(), max, func(size int) []byte { return make([]byte, size) })
	if err != nil {
		return nil, nil, fault("read", path, err)
	}
	return data, info, nil
}
