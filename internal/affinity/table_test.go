package affinity

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

var (
	t0   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pool = Pool{Profile: "p", N: 1}
)

// talk is a conversation of these turns.
func talk(session string, turns ...string) Conversation {
	return Of(drey.WireChat, body(drey.WireChat, "s", turns), session)
}

func TestTable(t *testing.T) {
	var table Table
	find := func(at time.Duration, p Pool, c Conversation) string {
		m, ok := table.Find(t0.Add(at), p, c)
		if !ok {
			return "nobody"
		}
		return fmt.Sprintf("%s by %d", m.Provider, m.Messages)
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	expect("an empty table", find(0, pool, talk("x", "a")), "nobody")
	table.Served(t0, pool, talk("x", "a", "b", "c"), "one")
	table.Served(t0, pool, talk("y", "a", "d"), "two")
	expect("the same again", find(0, pool, talk("", "a", "b", "c")), "one by 3")
	expect("its next turn", find(0, pool, talk("", "a", "b", "c", "e", "f")), "one by 3")
	expect("a branch", find(0, pool, talk("", "a", "b", "g")), "one by 2")
	expect("who served the common turn last", find(0, pool, talk("", "a", "h")), "two by 1")
	expect("a prefix before a session", find(0, pool, talk("x", "a", "d", "e")), "two by 2")
	expect("a session alone", find(0, pool, talk("x", "z")), "one by 0")
	expect("neither", find(0, pool, talk("z", "z")), "nobody")
	expect("another pool", find(0, Pool{"p", 2}, talk("x", "a")), "nobody")
	expect("another profile", find(0, Pool{"q", 1}, talk("x", "a")), "nobody")
	table.Served(t0.Add(Life/2), pool, talk("", "a", "b", "c", "e", "f"), "two")
	expect("somebody else took over", find(Life/2, pool, talk("", "a", "b", "c")), "two by 3")
	expect("within its life", find(Life, pool, talk("", "a", "b", "c")), "two by 3")
	expect("its life is over", find(Life/2+Life, pool, talk("x", "a", "b", "c")), "nobody")
}

// A conversation that grows takes up what is new, and a single long one does not
// drive out all others.
func TestTableIsBounded(t *testing.T) {
	var table Table
	var turns []string
	for i := range 50 {
		turns = append(turns, fmt.Sprint(i))
		table.Served(t0, pool, talk("", turns...), "one")
	}
	if table.Len() != 50 {
		t.Errorf("50 turns take %d entries", table.Len())
	}
	long := Conversation{Prefixes: make([]uint64, 100_000)}
	for i := range long.Prefixes {
		long.Prefixes[i] = uint64(i + 1)
	}
	table.Served(t0, pool, long, "two")
	if want := 50 + most; table.Len() != want {
		t.Errorf("a long one makes it %d entries, want %d", table.Len(), want)
	}
	if m, ok := table.Find(t0, pool, long); !ok || m.Messages != 100_000 {
		t.Errorf("the long one is found by %d messages", m.Messages)
	}
	old, kept := talk("", turns...), talk("kept")
	for i := range 2 * Entries {
		table.Served(t0, pool, Conversation{Session: uint64(i)<<1 | 1}, "three")
		if _, ok := table.Find(t0, pool, old); !ok && i < Entries-50-most-1 {
			t.Fatalf("forgotten after %d others", i)
		}
		table.Served(t0, pool, kept, "four")
	}
	if table.Len() != Entries || len(table.entries) != Entries+1 {
		t.Errorf("%d entries in %d places", table.Len(), len(table.entries))
	}
	if _, ok := table.Find(t0, pool, kept); !ok {
		t.Error("what is used all the time was forgotten")
	}
	if _, ok := table.Find(t0, pool, old); ok {
		t.Error("what nobody used for long is still there")
	}
}

// TestTableAgainstItsTwin compares the table with one that forgets nothing but
// what is too old, as long as there is room for all.
func TestTableAgainstItsTwin(t *testing.T) {
	type served struct {
		by drey.ProviderID
		at time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		var table Table
		twin := map[string]served{}
		at := t0
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			at = at.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute)
			turns := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 0, 4).Draw(t, "turns")
			session := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "session")
			c := talk(session, turns...)
			want := Match{}
			for n := len(turns); n > 0 && want.Provider == ""; n-- {
				if s := twin[fmt.Sprint(turns[:n])]; s.by != "" && at.Sub(s.at) < Life {
					want = Match{s.by, n}
				}
			}
			if s := twin[session]; want.Provider == "" && session != "" && s.by != "" && at.Sub(s.at) < Life {
				want = Match{Provider: s.by}
			}
			got, ok := table.Find(at, pool, c)
			if got != want || ok != (want.Provider != "") {
				t.Fatalf("%v in session %q: %v %v, want %v", turns, session, got, ok, want)
			}
			by := rapid.SampledFrom([]drey.ProviderID{"one", "two", "three"}).Draw(t, "by")
			table.Served(at, pool, c, by)
			for n := range turns {
				twin[fmt.Sprint(turns[:n+1])] = served{by, at}
			}
			if session != "" {
				twin[session] = served{by, at}
			}
		}
	})
}

// TestRing holds the ring together under any use: as many links as entries, the
// same in both directions.
func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table Table
		for _, k := range rapid.SliceOfN(rapid.Uint64Range(0, 9), 1, 60).Draw(t, "keys") {
			table.put(t0, k, "one")
			n := 0
			for i := table.entries[0].newer; i != 0; i = table.entries[i].newer {
				if table.entries[table.entries[i].older].newer != i {
					t.Fatal("the links disagree")
				}
				n++
			}
			if n != table.Len() {
				t.Fatalf("%d links for %d entries", n, table.Len())
			}
			if newest := table.entries[0].older; table.entries[newest].key != k {
				t.Fatalf("the newest is not the last that was put")
			}
		}
	})
}

func BenchmarkTable(b *testing.B) {
	var table Table
	var turns []string
	for i := range 200 {
		turns = append(turns, fmt.Sprint(i))
	}
	c := talk("x", turns...)
	b.ReportAllocs()
	for b.Loop() {
		table.Find(t0, pool, c)
		table.Served(t0, pool, c, "one")
	}
}
