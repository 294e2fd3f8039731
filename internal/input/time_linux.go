package input

import "syscall"

func modTime(st *syscall.Stat_t) (sec, nsec int64) { return st.Mtim.Unix() }
