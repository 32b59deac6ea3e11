//go:build !linux && !darwin

package server

import "errors"

// peerUID cannot tell on this system, so that its control socket lets nobody
// in; the control API over loopback works.
func peerUID(int) (int, error) { return -1, errors.ErrUnsupported }
