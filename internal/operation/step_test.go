package operation

import (
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var update = flag.Bool("update", false, "rewrite testdata")

var t0 = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func after(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }

func idOf(n byte) ID { return IDAt(t0, [10]byte{9: n}) }

func metaAt(ms int) Meta { return Meta{ID: idOf(1), At: after(ms), Epoch: 3} }

func memberSpec() Spec {
	return Spec{
		ID: idOf(1), Kind: MemberChild, Owner: "s-lead", Name: "alpha/coder/ann", Child: "s-ann",
		ExpectPeer: true, Labels: Labels{"mob": "alpha", "member": "ann"},
	}
}

func toolSpec() Spec {
	return Spec{ID: idOf(1), Kind: BackgroundTool, Owner: "s-ann", Name: "shell"}
}

func handle() PeerHandle {
	return PeerHandle{Name: "alpha/coder/ann", Peer: Peer{Name: "ann", ID: "p1", Address: "inproc://alpha/ann"}}
}

// tb is what a test, a benchmark and a rapid property have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// must plays events that are all taken.
func must(t tb, m Machine, evs ...Event) Machine {
	t.Helper()
	for _, ev := range evs {
		next, out := Step(m, ev, DefaultPolicy())
		if RowOf(out) == nil {
			t.Fatalf("%s while %s: %v", ev.action(), m.Status, Refusal(out))
		}
		m = next
	}
	return m
}

func registered(t tb, s Spec) Machine {
	t.Helper()
	return must(t, Machine{}, Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: s})
}

func running(t tb, s Spec) Machine {
	t.Helper()
	return must(t, registered(t, s), Provisioned{metaAt(10)})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); read it, then run with -update:\n%s", path, diff)
	}
}

func TestALifeGoesIntoTheMachine(t *testing.T) {
	m := must(t, Machine{},
		Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec()},
		Provisioned{metaAt(10)},
		PeerBecameReady{metaAt(20), handle()},
		ReportProgress{metaAt(30), ProgressUpdate{"half", PercentOf(50)}},
		ReportProgress{metaAt(40), ProgressUpdate{Message: "more"}},
		ReportProgress{metaAt(50), ProgressUpdate{Percent: PercentOf(40)}},
		RequestRetire{metaAt(60)},
		Complete{metaAt(70), Result{Content: "done", Tokens: 7}},
	)
	spec := memberSpec()
	spec.Source, spec.OnRestart = "mob_member", Resume
	ms := t0.UnixMilli()
	want := Machine{
		Spec: spec, Registry: "mob:alpha", Status: Completed, Version: 8,
		PeerReady: true, Peer: handle(), ProgressCount: 3,
		Progress:    Progress{Message: "more", Percent: PercentOf(40), AtMS: ms + 50},
		Outcome:     Outcome{Type: Completed, Result: Result{ID: idOf(1), Content: "done", Tokens: 7}},
		CreatedAtMS: ms, UpdatedAtMS: ms + 70, StartedAtMS: ms + 10, CompletedAtMS: ms + 70,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("\n got %+v\nwant %+v", m, want)
	}
	tool := registered(t, toolSpec())
	if tool.Source != "background_tool" || tool.OnRestart != FailIt {
		t.Errorf("defaults of a tool: %q %s", tool.Source, tool.OnRestart)
	}
}

// TestCheckOrder breaks two rules at once and looks which one answers.
func TestCheckOrder(t *testing.T) {
	ready := must(t, running(t, memberSpec()), PeerBecameReady{metaAt(20), handle()})
	done := must(t, ready, Complete{metaAt(30), Result{}})
	plain := running(t, toolSpec())
	none := 0
	full := Policy{MaxConcurrent: &none}
	stale := metaAt(40)
	stale.Handle = 2
	asked := metaAt(40)
	asked.RequestID = "r1"
	askedStale := asked
	askedStale.Handle = 2
	cancelled := must(t, plain, Cancel{asked, "enough"})
	bad := memberSpec()
	bad.Name = ""
	nan := ReportProgress{stale, ProgressUpdate{Percent: PercentOf(math.NaN())}}
	tests := []struct {
		name string
		m    Machine
		ev   Event
		p    Policy
		want Code
	}{
		{"arguments before existence", Machine{}, nan, Policy{}, CodeInvalidArgument},
		{"arguments before eviction", Evicted(idOf(1), Failed), nan, Policy{}, CodeInvalidArgument},
		{"arguments before the status", done, nan, Policy{}, CodeInvalidArgument},
		{"existence before the epoch", Machine{}, Complete{Meta: stale}, Policy{}, CodeNotFound},
		{"eviction before the epoch", Evicted(idOf(1), Failed), Complete{Meta: stale}, Policy{}, CodeEvicted},
		{"another call under the request id before the epoch", cancelled, Cancel{askedStale, "other"}, Policy{}, CodeIdempotencyMismatch},
		{"another action under the request id before the status", cancelled, Fail{asked, "enough"}, Policy{}, CodeIdempotencyMismatch},
		{"a repeat before the epoch", cancelled, Cancel{askedStale, "enough"}, Policy{}, NoCode},
		{"the epoch before the status", done, Complete{Meta: stale}, Policy{}, CodeStaleEpoch},
		{"the epoch before the peer", plain, PeerBecameReady{stale, handle()}, Policy{}, CodeStaleEpoch},
		{"a ready and ended member is ready already", done, PeerBecameReady{metaAt(40), handle()}, Policy{}, CodeAlreadyPeerReady},
		{"an unexpected peer before the status", registered(t, toolSpec()), PeerBecameReady{metaAt(40), handle()}, Policy{}, CodePeerNotExpected},
		{"register: arguments before the id", done, Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: bad}, full, CodeInvalidArgument},
		{"register: the id before the owner and the limit", done, Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec(), Fenced: true}, full, CodeAlreadyRegistered},
		{"register: an evicted id is taken", Evicted(idOf(1), Absent), Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec(), Fenced: true}, full, CodeAlreadyRegistered},
		{"register: the owner before the limit", Machine{}, Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec(), Fenced: true}, full, CodeOwnerRetired},
		{"register: the limit", Machine{}, Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: memberSpec()}, full, CodeMaxConcurrentExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, out := Step(tt.m, tt.ev, tt.p)
			if !reflect.DeepEqual(next, tt.m) {
				t.Error("it changed the machine")
			}
			if tt.want == NoCode {
				if len(out) != 1 || out[0] != (Repeat{Version: cancelled.Version}) {
					t.Errorf("effects %v, want the repeat of version %d", out, cancelled.Version)
				}
				return
			}
			refused := Refusal(out)
			if refused == nil || refused.Code != tt.want {
				t.Errorf("refused with %v, want %s", refused, tt.want)
			}
		})
	}
}

func TestRegisterSaysWhetherItIsTheSame(t *testing.T) {
	m := running(t, memberSpec())
	_, out := Step(m, Register{Meta: metaAt(50), Registry: "mob:alpha", Spec: memberSpec()}, Policy{})
	if e := Refusal(out); e == nil || !e.SameSpec || e.Status != "running" {
		t.Errorf("the same again: %+v", e)
	}
	other := memberSpec()
	other.Labels = Labels{"mob": "beta"}
	_, out = Step(m, Register{Meta: metaAt(50), Registry: "mob:alpha", Spec: other}, Policy{})
	if e := Refusal(out); e == nil || e.SameSpec {
		t.Errorf("another one: %+v", e)
	}
}

func TestRegisterAgainByRequestID(t *testing.T) {
	meta := metaAt(0)
	meta.RequestID = "r1"
	reg := Register{Meta: meta, Registry: "mob:alpha", Spec: memberSpec()}
	m := must(t, Machine{}, reg, Provisioned{metaAt(10)})
	reg.Active, reg.Fenced = 9, true // the registry's facts are no part of the call
	if _, out := Step(m, reg, DefaultPolicy()); len(out) != 1 || out[0] != (Repeat{Version: 1}) {
		t.Errorf("effects %v", out)
	}
	reg.Spec.Owner = "s-other"
	if _, out := Step(m, reg, DefaultPolicy()); Refusal(out) == nil || Refusal(out).Code != CodeIdempotencyMismatch {
		t.Errorf("effects %v", out)
	}
}

func TestRequestsAreRememberedUpToABound(t *testing.T) {
	m := running(t, memberSpec())
	call := func(n int) ReportProgress {
		meta := metaAt(n)
		meta.RequestID = drey.RequestID("r" + string(rune('a'+n)))
		return ReportProgress{meta, ProgressUpdate{Message: "m"}}
	}
	const calls = 2*RequestsKept + 1 // the last one makes it forget
	for n := range calls {
		m = must(t, m, call(n))
		if m.requests.n > 2*RequestsKept {
			t.Fatalf("%d requests are kept", m.requests.n)
		}
	}
	if m.requests.n != RequestsKept {
		t.Errorf("%d requests are kept, want %d", m.requests.n, RequestsKept)
	}
	for n := calls - RequestsKept; n < calls; n++ {
		if _, out := Step(m, call(n), Policy{}); len(out) != 1 || out[0] != (Repeat{Version: int64(n + 3)}) {
			t.Fatalf("repeat of %d: %v", n, out)
		}
	}
}

func TestTimeNeverFalls(t *testing.T) {
	m := registered(t, memberSpec())
	m, out := Step(m, Provisioned{metaAt(-5000)}, Policy{})
	if m.StartedAtMS != m.CreatedAtMS || m.UpdatedAtMS != m.CreatedAtMS || !RowOf(out).At.Equal(t0) {
		t.Errorf("started %d, created %d, row at %s", m.StartedAtMS, m.CreatedAtMS, RowOf(out).At)
	}
	m = must(t, m, Fail{metaAt(-9000), "x"})
	if s := m.Snapshot(Around{}); s.ElapsedMS == nil || *s.ElapsedMS != 0 {
		t.Errorf("elapsed %v", s.ElapsedMS)
	}
}

func TestLongTextsAreCutAtARune(t *testing.T) {
	m := running(t, memberSpec())
	long := strings.Repeat("x", MaxContent-1) + "é" + "tail" // é would straddle the limit
	m2 := must(t, m, Complete{metaAt(20), Result{Content: long}})
	if r := m2.Outcome.Result; len(r.Content) != MaxContent-1 || !r.Truncated || r.ContentBytes != int64(len(long)) {
		t.Errorf("%d bytes, truncated %t, was %d", len(r.Content), r.Truncated, r.ContentBytes)
	}
	exact := strings.Repeat("x", MaxContent)
	m2 = must(t, m, Complete{metaAt(20), Result{Content: exact, Truncated: true, ContentBytes: 3}})
	if r := m2.Outcome.Result; r.Content != exact || r.Truncated || r.ContentBytes != 0 {
		t.Errorf("what fits was cut, or says so: %t %d", r.Truncated, r.ContentBytes)
	}
	m2 = must(t, m, Complete{metaAt(20), Result{Content: "cut by the tool", Truncated: true, ContentBytes: 9999}})
	if r := m2.Outcome.Result; !r.Truncated || r.ContentBytes != 9999 {
		t.Errorf("a cut result does not say so any more: %+v", r)
	}
	m2 = must(t, m, ReportProgress{metaAt(20), ProgressUpdate{Message: strings.Repeat("é", MaxMessage)}})
	if msg := m2.Progress.Message; len(msg) != MaxMessage || !utf8.ValidString(msg) {
		t.Errorf("message of %d bytes", len(msg))
	}
}

func FuzzTidy(f *testing.F) {
	f.Add("", 4)
	f.Add("aé€😀", 5)
	f.Add("\xff\xfe\xfd😀", 4)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < utf8.UTFMax || limit > 1<<16 {
			return
		}
		got, wasCut := tidy(s, limit)
		switch {
		case len(got) > limit || !utf8.ValidString(got):
			t.Errorf("%q", got)
		case len(s) <= limit && utf8.ValidString(s) && (got != s || wasCut):
			t.Errorf("%q became %q", s, got)
		case utf8.ValidString(s) && !strings.HasPrefix(s, got):
			t.Errorf("%q is no prefix of %q", got, s)
		case utf8.ValidString(s) && wasCut != (got != s):
			t.Errorf("cut: %t", wasCut)
		case utf8.ValidString(s) && wasCut && len(got) <= limit-utf8.UTFMax:
			t.Errorf("cut to %d of %d", len(got), limit)
		}
		if again, cutAgain := tidy(got, limit); again != got || cutAgain {
			t.Errorf("tidied again: %q", again)
		}
	})
}

func TestArguments(t *testing.T) {
	change := func(f func(*Spec)) Event {
		s := memberSpec()
		f(&s)
		return Register{Meta: metaAt(0), Registry: "mob:alpha", Spec: s}
	}
	peer := func(f func(*PeerHandle)) Event {
		h := handle()
		f(&h)
		return PeerBecameReady{metaAt(0), h}
	}
	many := Labels{}
	for i := range MaxLabels + 1 {
		many[string(rune('a'+i))] = ""
	}
	long := strings.Repeat("x", MaxName+1)
	request := metaAt(0)
	request.RequestID = drey.RequestID(long)
	tests := []struct {
		ev    Event
		field string // "" = taken
	}{
		{change(func(*Spec) {}), ""},
		{change(func(s *Spec) { s.Child = s.Owner }), ""}, // it may own itself
		{change(func(s *Spec) { s.Name = long[1:] }), ""},
		{change(func(s *Spec) { s.ID = ID{} }), "id"},
		{change(func(s *Spec) { s.Kind = NoKind }), "kind"},
		{change(func(s *Spec) { s.Kind = 9 }), "kind"},
		{change(func(s *Spec) { s.Owner = "" }), "owner_session_id"},
		{change(func(s *Spec) { s.Owner = "\xff" }), "owner_session_id"},
		{change(func(s *Spec) { s.Name = "" }), "display_name"},
		{change(func(s *Spec) { s.Name = long }), "display_name"},
		{change(func(s *Spec) { s.Child = "" }), "child_session_id"},
		{change(func(s *Spec) { s.Kind = BackgroundTool }), "expect_peer_channel"},
		{change(func(s *Spec) { s.OnRestart = 9 }), "on_restart"},
		{change(func(s *Spec) { s.Labels = many }), "labels"},
		{change(func(s *Spec) { s.Labels = Labels{"": "x"} }), "labels"},
		{change(func(s *Spec) { s.Labels = Labels{"a": long} }), "labels"},
		{change(func(s *Spec) { s.Labels = Labels{long: "a"} }), "labels"},
		{Register{Meta: metaAt(0), Registry: "room:1", Spec: memberSpec()}, "registry"},
		{Register{Meta: metaAt(0), Registry: "mob:", Spec: memberSpec()}, "registry"},
		{peer(func(h *PeerHandle) { h.Name = "" }), "handle.peer_name"},
		{peer(func(h *PeerHandle) { h.Peer.Name = "" }), "handle.peer.name"},
		{peer(func(h *PeerHandle) { h.Peer.ID = "" }), "handle.peer.peer_id"},
		{peer(func(h *PeerHandle) { h.Peer.Address = "" }), "handle.peer.address"},
		{peer(func(h *PeerHandle) { h.Peer.Address = "alpha/ann" }), "handle.peer.address"},
		{peer(func(h *PeerHandle) { h.Peer.Address = "1x://a" }), "handle.peer.address"},
		{ReportProgress{metaAt(0), ProgressUpdate{Percent: PercentOf(-0.1)}}, "percent"},
		{ReportProgress{metaAt(0), ProgressUpdate{Percent: PercentOf(100.1)}}, "percent"},
		{ReportProgress{metaAt(0), ProgressUpdate{Percent: PercentOf(math.Inf(1))}}, "percent"},
		{ReportProgress{metaAt(0), ProgressUpdate{Percent: PercentOf(100)}}, ""},
		{Complete{metaAt(0), Result{ID: idOf(2)}}, "result.id"},
		{Complete{metaAt(0), Result{ID: idOf(1)}}, ""},
		{Complete{metaAt(0), Result{DurationMS: -1}}, "result.duration_ms"},
		{Complete{metaAt(0), Result{Tokens: -1}}, "result.tokens_used"},
		{AdoptOwner{metaAt(0), ""}, "owner_session_id"},
		{AdoptOwner{metaAt(0), "\xff"}, "owner_session_id"},
		{RequestRetire{request}, "request_id"},
	}
	for _, tt := range tests {
		m := Machine{}
		if _, ok := tt.ev.(Register); !ok {
			m = running(t, memberSpec())
		}
		_, out := Step(m, tt.ev, DefaultPolicy())
		e := Refusal(out)
		switch {
		case tt.field == "" && RowOf(out) == nil:
			t.Errorf("%+v: %v", tt.ev, e)
		case tt.field != "" && (e == nil || e.Code != CodeInvalidArgument || e.Field != tt.field):
			t.Errorf("%+v: %v, want a refusal of %s", tt.ev, e, tt.field)
		}
	}
}

func TestIDs(t *testing.T) {
	id := idOf(1)
	upper, err := ParseID(strings.ToUpper(id.String()))
	if err != nil || upper != id {
		t.Errorf("%v, %v", upper, err)
	}
	if s := id.String(); s[14] != '7' || !strings.ContainsRune("89ab", rune(s[19])) {
		t.Errorf("%s is no UUIDv7", s)
	}
	if v4, err := ParseID("6f1b0f5e-3a56-4a7e-9b1d-0c7d8e9f0a1b"); err != nil || v4.String() != "6f1b0f5e-3a56-4a7e-9b1d-0c7d8e9f0a1b" {
		t.Errorf("%v, %v", v4, err)
	}
	for _, bad := range []string{"", "x", "6f1b0f5e3a564a7e9b1d0c7d8e9f0a1b", "6f1b0f5e-3a56-4a7e-9b1d-0c7d8e9f0a1g", "00000000-0000-0000-0000-000000000000", "{f1b0f5e-3a56-4a7e-9b1d-0c7d8e9f0a1}"} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("%q was taken for %s", bad, id)
		}
	}
	if IDAt(after(1), [10]byte{}).Compare(IDAt(t0, [10]byte{9: 255})) <= 0 {
		t.Error("a later id is not behind an earlier one")
	}
}

func TestNamesGoOverText(t *testing.T) {
	for s := Absent; s <= Terminated; s++ {
		var back Status
		if text, _ := s.MarshalText(); back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%s became %s", s, back)
		}
	}
	for a := NoAction; a <= ActList; a++ {
		var back Action
		if text, _ := a.MarshalText(); back.UnmarshalText(text) != nil || back != a {
			t.Errorf("%s became %s", a, back)
		}
	}
	var s Status
	if err := s.UnmarshalText([]byte("gone")); err == nil {
		t.Error("an unknown status was taken")
	}
	var k Kind
	if err := json.Unmarshal([]byte(`"member"`), &k); err == nil {
		t.Error("an unknown kind was taken")
	}
	for r, want := range map[RegistryID]string{Fallback: "fallback", MobRegistry("a"): "mob", SessionRegistry("s"): "session", "mob:": "", "": "", "x:y": ""} {
		if got := r.Kind(); got != want {
			t.Errorf("%q is a %q, want %q", r, got, want)
		}
	}
}

func TestErrorIsItsSentinel(t *testing.T) {
	for c := CodeInvalidArgument; c <= CodeClosed; c++ {
		err := error(&Error{Code: c, Err: errors.New("disk full")})
		for other := CodeInvalidArgument; other <= CodeClosed; other++ {
			want := c == other || c == CodeEvicted && other == CodeNotFound
			if got := errors.Is(err, codes[other].err); got != want {
				t.Errorf("%s is %s: %t", c, other, got)
			}
		}
		if c.HTTPStatus() < 400 || c.String() == "" {
			t.Errorf("%d has no status or name", c)
		}
	}
}
