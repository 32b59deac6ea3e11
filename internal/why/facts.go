package why

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// field returns a field of an event as it would be read back from JSON: nil if
// it is not there or null. Fields hold Go values where the event is live and
// json.RawMessage where it comes from the journal; a story must not differ.
func field(ev drey.Event, key string) any {
	for _, f := range ev.Fields {
		if f.Key != key {
			continue
		}
		raw, ok := f.Value.(json.RawMessage)
		if !ok {
			var err error
			if raw, err = json.Marshal(f.Value); err != nil {
				return nil
			}
		}
		var v any
		if json.Unmarshal(raw, &v) != nil {
			return nil
		}
		return v
	}
	return nil
}

// text returns a field that is a string, cleaned for one line; else "".
func text(ev drey.Event, key string) string {
	s, _ := field(ev, key).(string)
	return oneLine(s)
}

// number returns a field that is a number, else 0.
func number(ev drey.Event, key string) float64 {
	n, _ := field(ev, key).(float64)
	return n
}

// yes returns a field that is a boolean, else false.
func yes(ev drey.Event, key string) bool {
	b, _ := field(ev, key).(bool)
	return b
}

// seconds and millis return a field with that unit in its name as a span.
func seconds(ev drey.Event, key string) time.Duration {
	return clampSpan(number(ev, key) * float64(time.Second))
}

func millis(ev drey.Event, key string) time.Duration {
	return clampSpan(number(ev, key) * float64(time.Millisecond))
}

func clampSpan(ns float64) time.Duration {
	if !(ns > 0) {
		return 0
	}
	return time.Duration(min(ns, math.MaxInt64/2))
}

// maxText is how much of a foreign text a sentence shows, in runes.
const maxText = 200

// oneLine makes a text of somebody else fit into a sentence.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxText {
		s = string(r[:maxText-1]) + "…"
	}
	return strings.TrimSuffix(s, ".")
}

// span writes a span as people say it: 12 ms, 1.2 s, 30 s, 3m36s.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < 9950*time.Millisecond:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < 59500*time.Millisecond:
		return strconv.Itoa(int(d.Round(time.Second)/time.Second)) + " s"
	case d < 24*time.Hour:
		return drey.Duration(d.Round(time.Second)).String()
	default:
		return drey.Duration(d.Round(time.Minute)).String()
	}
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// because adds a reason in words, if there is one.
func because(s, reason string) string {
	if reason == "" {
		return s
	}
	return s + ": " + reason
}

// raw writes an event that has no sentence of its own, so that nothing in the
// journal is passed over in silence.
func raw(ev drey.Event) string {
	var b strings.Builder
	b.WriteString(cmp.Or(oneLine(ev.Name), "an event without a name"))
	sep := ": "
	for _, f := range ev.Fields {
		if f.Key == "provider" {
			continue
		}
		v := field(ev, f.Key)
		switch in := v.(type) {
		case string:
			v = oneLine(in)
		case map[string]any, []any: // whose texts may have lines too
			b, _ := json.Marshal(in) // it came from JSON
			v = oneLine(string(b))
		}
		fmt.Fprintf(&b, "%s%s %v", sep, oneLine(f.Key), v)
		sep = ", "
	}
	return b.String()
}

// causes finds an event's causes among those that are known.
type causes map[drey.Seq]drey.Event

// index returns the causes among the events.
func index(events []drey.Event) causes {
	c := make(causes, len(events))
	for _, ev := range events {
		if ev.Seq != 0 {
			c[ev.Seq] = ev
		}
	}
	return c
}

// request follows an event's causes to the request that began it; "" if none
// did. A cause is always an earlier event, so the walk ends.
func (c causes) request(ev drey.Event) drey.RequestID {
	for {
		if ev.RequestID != "" {
			return ev.RequestID
		}
		cause, ok := c[ev.Cause]
		if !ok || ev.Seq != 0 && cause.Seq >= ev.Seq {
			return ""
		}
		ev = cause
	}
}
