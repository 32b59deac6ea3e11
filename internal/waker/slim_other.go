//go:build !linux

package waker

import "runtime/debug"

// slim gives back what a process that only waits does not need.
func slim() { debug.FreeOSMemory() }
