//go:build !linux

package waker

import "runtime/debug"

// Slim gives back what a process that only waits does not need.
func Slim() { debug.FreeOSMemory() }
