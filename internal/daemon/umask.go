package daemon

import "golang.org/x/sys/unix"

// restrictUmask keeps every file that the process makes to its owner.
func restrictUmask() { unix.Umask(0o077) }
