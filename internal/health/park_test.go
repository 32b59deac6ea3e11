package health

import (
	"slices"
	"testing"
	"time"

	"github.com/dreyhq/drey"
)

// The spans of the gateway contract §6, and what brings them back to the first.
func TestParkSpans(t *testing.T) {
	for _, tt := range []struct {
		park Park
		want []time.Duration
	}{
		{ParkRateLimit, []time.Duration{5e9, 10e9, 20e9, 40e9, 60e9, 60e9}},
		{ParkAuth, []time.Duration{60e9, 120e9, 240e9, 480e9, 960e9, 1920e9, 3600e9, 3600e9}},
		{ParkQuota, []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 6 * time.Hour}},
		{ParkResource, []time.Duration{120e9, 120e9}},
	} {
		r := newRig(DefaultPolicy("local", "main"))
		park := func(wait time.Duration) time.Duration {
			r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), Park: tt.park, RetryAfter: wait})
			return r.m.ParkedUntil.Sub(after(r.now))
		}
		var got []time.Duration
		for range tt.want {
			got = append(got, park(0))
			r.tick()
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.park, got, tt.want)
		}
		r.ok(1)
		if d := park(0); d != tt.want[0] {
			t.Errorf("%s: after a success %s", tt.park, d)
		}
		r.ok(1) // it began before, and half of a burst proves nothing
		r.tick()
		if d := park(0); d != tt.want[1] {
			t.Errorf("%s: after a success within the parking %s", tt.park, d)
		}
	}
}

func TestParkedTwice(t *testing.T) {
	r := newRig(DefaultPolicy("local", "main"))
	park := func(p Park, wait time.Duration) []string {
		return names(r.step(AttemptEnded{Meta: r.meta(), Token: r.start(), Class: drey.RateLimit, Park: p, RetryAfter: wait}))
	}
	park(ParkRateLimit, 2*time.Hour)
	if park(ParkAuth, 0); r.m.ParkedReason != ParkRateLimit {
		t.Error("a shorter parking replaced a longer one")
	}
	r.tick()
	park(ParkRateLimit, 0)
	if park(ParkResource, 0); r.m.ParkedReason != ParkResource {
		t.Error("want of memory is hidden by a short pause")
	}
	r.now += 120
	if got := park(ParkRateLimit, 0); !slices.Equal(got, []string{"provider-unparked", "provider-parked"}) {
		t.Errorf("at the very end of a parking: %v", got)
	}
}
