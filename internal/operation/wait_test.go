package operation

import (
	"errors"
	"reflect"
	"testing"
)

func TestCheckWait(t *testing.T) {
	run := running(t, memberSpec())
	machines := map[ID]Machine{
		idOf(1): run, idOf(2): must(t, run, MarkRetired{metaAt(20)}), idOf(3): Evicted(idOf(3), Failed), idOf(5): run,
	}
	find := func(id ID) Machine { return machines[id] }
	for _, tt := range []struct {
		ids  []ID
		live []ID
		err  error
	}{
		{nil, nil, nil},
		{idsOf(2), nil, nil},
		{idsOf(5, 2, 1), idsOf(5, 1), nil},
		{idsOf(4, 1, 1), nil, ErrDuplicateWait},
		{idsOf(1, 4, 3), nil, ErrNotFound},
		{idsOf(1, 3, 4), nil, ErrEvicted},
	} {
		live, err := CheckWait(tt.ids, find)
		if !reflect.DeepEqual(live, tt.live) || !errors.Is(err, tt.err) {
			t.Errorf("%v: %v, %v", tt.ids, live, err)
		}
	}
}
