package sqlite

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fuseTypes maps what the FUSE mounts of macOS call themselves to the one name
// that refuses them: there it mounts remote directories in practice.
var fuseTypes = map[string]string{"macfuse": "fuse.sshfs", "osxfuse": "fuse.sshfs", "osxfusefs": "fuse.sshfs"}

// filesystem names the file system of a directory.
func filesystem(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("look at the file system: %w", err)
	}
	name := unix.ByteSliceToString(st.Fstypename[:])
	if fuse, ok := fuseTypes[name]; ok {
		return fuse, nil
	}
	return name, nil
}
