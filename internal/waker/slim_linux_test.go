package waker

import (
	"bufio"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCleanRanges(t *testing.T) {
	const maps = `00400000-00e70000 r-xp 00000000 fe:00 10578335                           /usr/bin/drey
Size:              10688 kB
Anonymous:             0 kB
00e70000-00e80000 r--p 00a70000 fe:00 10578335                           /usr/bin/drey
Anonymous:             4 kB
0187e000-01907000 rw-p 0147e000 fe:00 10578335                           /usr/bin/drey
Anonymous:             0 kB
01907000-03953000 r--p 00000000 00:00 0
Anonymous:             0 kB
02000000-02001000 r--p 00000000 00:00 0                                  [vvar]
Anonymous:             0 kB
02001000-02003000 r--s 00000000 fe:00 7                                  /a file/with a name
Anonymous:             0 kB
`
	got := cleanRanges(bufio.NewScanner(strings.NewReader(maps)))
	want := []span{{0x400000, 0xa70000}, {0x2001000, 0x2000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(span{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
