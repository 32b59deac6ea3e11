package sqlite

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestNetwork(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "ext4": false, "apfs": false, "fuseblk": false, "fuse.gocryptfs": false, "fuse.ntfs-3g": false, "overlay": false,
		"nfs": true, "nfs4": true, "cifs": true, "smbfs": true, "9p": true, "afs": true, "ceph": true, "lustre": true,
		"fuse.sshfs": true, "fuse.rclone": true, "fuse.s3fs": true,
	} {
		if got := network(name); got != want {
			t.Errorf("%q: network %v, want %v", name, got, want)
		}
	}
}

func TestCheckFilesystem(t *testing.T) {
	dir := t.TempDir()
	if err := checkFilesystem(dir, func(string) (string, error) { return "ext4", nil }); err != nil {
		t.Error(err)
	}
	if err := CheckFilesystem(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
