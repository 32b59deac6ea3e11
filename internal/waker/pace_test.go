package waker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPace(t *testing.T) {
	var p pace
	crash := func(pause time.Duration) plan { return plan{pause: pause, start: true} }
	refused := func(pause time.Duration) plan {
		return plan{pause: pause, most: 30 * time.Second, config: true}
	}
	for i, step := range []struct {
		end  ended
		want plan
	}{
		{ended{code: 0, up: time.Hour}, plan{}},
		{ended{code: 0}, plan{}},
		{ended{code: 1}, crash(100 * time.Millisecond)},
		{ended{code: -1}, crash(200 * time.Millisecond)},
		{ended{code: 1, up: 59 * time.Second}, crash(400 * time.Millisecond)},
		{ended{code: 1, up: 60 * time.Second}, crash(100 * time.Millisecond)},
		{ended{code: 2}, refused(200 * time.Millisecond)},
		{ended{code: 4}, refused(400 * time.Millisecond)},
		{ended{code: 3}, crash(800 * time.Millisecond)},
		{ended{code: 0}, plan{}},
		{ended{code: 139}, crash(100 * time.Millisecond)},
	} {
		if diff := cmp.Diff(step.want, p.after(step.end), cmp.AllowUnexported(plan{})); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
	for range 200 {
		p.after(ended{code: 1})
	}
	if got := p.after(ended{code: 1}).pause; got != 30*time.Second {
		t.Errorf("the longest pause is %s", got)
	}
}
