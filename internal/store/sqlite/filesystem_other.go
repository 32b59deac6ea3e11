//go:build !linux && !darwin

package sqlite

// filesystem knows no file system here; "" is trusted.
func filesystem(string) (string, error) { return "", nil }
