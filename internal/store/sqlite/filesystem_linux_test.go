package sqlite

import "testing"

func TestMountType(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /home/me/remote rw,nosuid shared:20 - fuse.sshfs me@host: rw,user_id=1000
41 22 0:36 / /home/me/with\040space rw - fuse.gocryptfs /enc rw
42 40 0:37 / /home/me/remote/local rw master:1 propagate_from:2 - tmpfs tmpfs rw
43 22 0:38 / /twice rw - ext4 /dev/vdb rw
44 22 0:39 / /twice rw - fuse.rclone remote: rw
not a line
`
	for dir, want := range map[string]string{
		"/home/me/.drey":            "ext4",
		"/home/me/remote":           "fuse.sshfs",
		"/home/me/remote/.drey":     "fuse.sshfs",
		"/home/me/remoteness":       "ext4",
		"/home/me/remote/local/x":   "tmpfs",
		"/home/me/with space/.drey": "fuse.gocryptfs",
		"/twice/x":                  "fuse.rclone",
	} {
		if got := mountType(table, dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
	if got := mountType("", "/x"); got != "" {
		t.Errorf("an empty table: %q", got)
	}
}
