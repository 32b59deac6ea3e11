package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// CheckFilesystem returns an error that wraps store.ErrNetworkFilesystem, with
// a hint, if the directory dir lies on a file system whose locks and shared
// memory cannot be trusted: two machines could then write one database, and
// WAL mode needs memory that both see. A system that cannot say what its file
// systems are is trusted.
func CheckFilesystem(dir string) error { return checkFilesystem(dir, filesystem) }

func checkFilesystem(dir string, kind func(dir string) (string, error)) error {
	name, err := kind(dir)
	if err != nil {
		return explain("open store", filepath.Join(dir, "."), err)
	}
	if !network(name) {
		return nil
	}
	return &drey.Error{
		Class: drey.Caller,
		Code:  codeNetwork,
		Op:    "open store",
		Hint:  "Set DREY_HOME to a directory on a local disk; locks on " + name + " do not keep two machines from writing at once.",
		Err:   fmt.Errorf("%s is on %s: %w", dir, name, store.ErrNetworkFilesystem),
	}
}

// networkNames are the file systems, as the system names them, that are shared
// over a network or between a machine and its guest.
var networkNames = map[string]bool{
	"9p": true, "acfs": true, "afs": true, "afpfs": true, "beegfs": true, "ceph": true, "cifs": true, "coda": true,
	"davfs": true, "ftp": true, "gfs2": true, "glusterfs": true, "gpfs": true, "lustre": true, "ncpfs": true, "nfs": true,
	"nfs4": true, "ocfs2": true, "orangefs": true, "smb": true, "smb2": true, "smb3": true, "smbfs": true,
	"vboxsf": true, "vmhgfs": true, "webdav": true,
}

// fuseNames are the helpers of FUSE that put something remote behind a
// directory. FUSE itself says nothing: local disks are mounted with it too.
var fuseNames = map[string]bool{
	"afp": true, "blobfuse": true, "blobfuse2": true, "ceph-fuse": true, "cephfs": true, "curlftpfs": true, "davfs": true,
	"gcsfuse": true, "glusterfs": true, "goofys": true, "google-drive-ocamlfuse": true, "gvfsd-fuse": true, "juicefs": true,
	"JuiceFS": true, "mount-s3": true, "rclone": true, "s3fs": true, "seaweedfs": true, "smbnetfs": true, "sshfs": true,
	"vmhgfs-fuse": true,
}

// network reports whether a file system of this name is one of a network;
// FUSE ones come as fuse.HELPER.
func network(name string) bool {
	if helper, ok := strings.CutPrefix(name, "fuse."); ok {
		return fuseNames[helper]
	}
	return networkNames[name]
}
