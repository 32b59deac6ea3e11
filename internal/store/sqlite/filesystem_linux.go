package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// magics are the numbers that statfs gives for the file systems of
// networkNames, from linux/magic.h and the file systems' own sources. Those
// that are not here are trusted.
var magics = map[uint32]string{
	0x01021997: "9p",
	0x5346414f: "afs",
	0x6b414653: "afs",
	0x19830326: "beegfs",
	0x00c36400: "ceph",
	0xff534d42: "cifs",
	0x73757245: "coda",
	0x01161970: "gfs2",
	0x47504653: "gpfs",
	0x0bd00bd0: "lustre",
	0x0000564c: "ncpfs",
	0x00006969: "nfs",
	0x7461636f: "ocfs2",
	0x20030528: "orangefs",
	0x0000517b: "smb",
	0xfe534d42: "smb2",
	0x786f4256: "vboxsf",
	0xbacbacbc: "vmhgfs",
}

const fuseMagic = 0x65735546

// filesystem names the file system of a directory, "" if it is none that
// matters.
func filesystem(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("look at the file system: %w", err)
	}
	if magic := uint32(st.Type); magic != fuseMagic {
		return magics[magic], nil
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", nil // FUSE of an unknown kind: trusted, as local disks are mounted with it too
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("look at the file system: %w", err)
	}
	if real, err = filepath.Abs(real); err != nil {
		return "", err
	}
	return mountType(string(table), real), nil
}

// mountType finds in the text of mountinfo (see proc(5)) the type of the mount
// that dir lies in: the one with the longest mount point, of two the later.
func mountType(table, dir string) string {
	best, kind := -1, ""
	for line := range strings.Lines(table) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 1 {
			continue
		}
		point := unescapeMount(left[4])
		inside := point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
		if inside && len(point) >= best {
			best, kind = len(point), right[0]
		}
	}
	return kind
}

var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescapeMount(s string) string { return mountEscapes.Replace(s) }
