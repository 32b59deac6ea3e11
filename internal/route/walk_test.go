package route

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
)

// A story is a walk told in words: what is asked for, what happens, and so on.
type story struct {
	t      *testing.T
	w      Walk
	a      Action
	at     time.Time
	policy Policy
	told   []string
}

func begin(t *testing.T, p Plan) *story {
	s := &story{t: t, at: t0, policy: DefaultPolicy()}
	s.step(Began{At: t0, Plan: p, Tokens: 9000})
	return s
}

func (s *story) step(ev Event) *story {
	s.w, s.a = Step(s.w, ev, s.policy)
	s.told = append(s.told, tell(s.a))
	return s
}

func (s *story) id() drey.ProviderID {
	try, ok := s.a.(Try)
	if !ok {
		s.t.Fatalf("nothing is under way: %s", strings.Join(s.told, "; "))
	}
	return try.ID
}

func (s *story) fail(v Verdict) *story {
	return s.step(Failed{At: s.at, Provider: s.id(), Verdict: v, Rand: 0.5})
}
func (s *story) full(r Reason) *story { return s.step(Full{At: s.at, Provider: s.id(), Reason: r}) }
func (s *story) served() *story       { return s.step(Served{Provider: s.id()}) }

func (s *story) want(told string) {
	s.t.Helper()
	if got := strings.Join(s.told, "; "); got != told {
		s.t.Errorf("got  %s\nwant %s", got, told)
	}
}

var (
	vTransport = Verdict{Class: drey.Transport}
	vServer    = Verdict{Class: drey.Server, Status: 500}
	vRate      = Verdict{Class: drey.RateLimit, Status: 429, Parks: true}
	vRate2     = Verdict{Class: drey.RateLimit, Status: 429, Parks: true, RetryAfter: 2 * time.Second}
	vLoading   = Verdict{Class: drey.Loading, Status: 503}
	vTooLong   = Verdict{Class: drey.Caller, Sub: ContextLength, Status: 400}
	vMissing   = Verdict{Class: drey.Caller, Sub: Unsupported, Status: 400}
	vEmpty     = Verdict{Class: drey.BadOutput, Sub: Empty}
	v401       = Verdict{Class: drey.Auth, Sub: BadCredential, Status: 401}
)

// locals is a plan of n local providers with equal windows.
func locals(n int) Plan {
	var p Plan
	for i := range n {
		p.Candidates = append(p.Candidates, Candidate{ID: drey.ProviderID('a' + rune(i)), Index: i, Context: 8192, QueueWait: 3 * time.Second})
	}
	return p
}

func TestWalkStories(t *testing.T) {
	t.Run("served at once", func(t *testing.T) {
		begin(t, locals(2)).served().want("try a; nothing")
	})
	t.Run("failover is not rationed and waits for nothing", func(t *testing.T) {
		begin(t, locals(4)).fail(vServer).fail(vTransport).fail(vRate2).served().want("try a; try b; try c; try d; nothing")
	})
	t.Run("the last failure is not one to repeat: an earlier one is", func(t *testing.T) {
		begin(t, locals(2)).fail(vServer).fail(vTransport).served().want("try a; try b; try a after 350ms (retry); nothing")
	})
	t.Run("one provider has all retries", func(t *testing.T) {
		s := begin(t, locals(2))
		s.policy.Retries = 3
		s.fail(vServer).fail(vServer).fail(vServer).fail(vTransport).
			want("try a; try b; try b after 350ms (retry); try b after 350ms (retry); fail 502 all_providers_failed retry-after 1")
	})
	t.Run("no retries", func(t *testing.T) {
		s := begin(t, locals(1))
		s.policy.Retries = 0
		s.fail(vServer).want("try a; fail 502 all_providers_failed retry-after 1")
	})
	t.Run("the retry budget is spent", func(t *testing.T) {
		s := begin(t, locals(2)).fail(vServer).fail(vServer)
		s.step(RetryRefused{At: t0, Provider: s.id()}).
			want("try a; try b; try b after 350ms (retry); fail 502 all_providers_failed retry-after 1")
	})
	t.Run("time that has passed counts toward Retry-After", func(t *testing.T) {
		s := begin(t, locals(2)).fail(vRate2)
		s.at = t0.Add(1500 * time.Millisecond)
		s.fail(vTransport).want("try a; try b; try a after 500ms (retry)")
	})
	t.Run("a longer Retry-After than the policy's", func(t *testing.T) {
		s := begin(t, locals(1))
		s.policy.Wait = time.Second
		s.fail(vRate2).want("try a; fail 429 rate_limit_exceeded retry-after 2")
	})
	t.Run("a trial is never repeated", func(t *testing.T) {
		p := locals(1)
		p.Candidates[0].Trial = true
		begin(t, p).fail(vServer).want("try a; fail 502 all_providers_failed retry-after 1")
		begin(t, p).fail(vLoading).want("try a; fail 503 no_provider retry-after 5")
	})
	t.Run("too long: larger windows only", func(t *testing.T) {
		p := locals(4)
		p.Candidates[2].Context, p.Candidates[3].Context = 32768, 4096
		s := begin(t, p).fail(vTooLong).fail(vTooLong)
		s.want("try a; try c; fail 400 context_length_exceeded")
		if got := s.a.(Fail).Message("p", s.w); got != "prompt is too long: 32769 tokens > 32768 maximum" {
			t.Error(got)
		}
	})
	t.Run("too long, in the provider's own numbers", func(t *testing.T) {
		v := vTooLong
		v.Text = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"
		s := begin(t, locals(2)).fail(v)
		if got := s.a.(Fail).Message("p", s.w); got != "prompt is too long: 5000 tokens > 4096 maximum" {
			t.Error(got)
		}
	})
	t.Run("too long, and the larger one is down for now", func(t *testing.T) {
		p := locals(2)
		p.Candidates[1].Context = 32768
		begin(t, p).fail(vTooLong).fail(vTransport).want("try a; try b; fail 502 all_providers_failed retry-after 1")
	})
	t.Run("an equal one that is down makes it no less too long", func(t *testing.T) {
		begin(t, locals(2)).fail(vServer).fail(vTooLong).want("try a; try b; fail 400 context_length_exceeded")
	})
	t.Run("a missing feature goes on; missing everywhere it is relayed", func(t *testing.T) {
		begin(t, locals(2)).fail(vMissing).served().want("try a; try b; nothing")
		begin(t, locals(2)).fail(vMissing).fail(vMissing).want("try a; try b; relay b")
	})
	t.Run("all empty: the last is given", func(t *testing.T) {
		begin(t, locals(2)).fail(vEmpty).fail(vEmpty).want("try a; try b; give b")
	})
	t.Run("full: another of its class at once", func(t *testing.T) {
		begin(t, locals(2)).full(ReasonBusy).served().want("try a; try b; nothing")
	})
	t.Run("full: waited for before a costlier one", func(t *testing.T) {
		p := locals(2)
		p.Candidates[1].Price = drey.Paid
		s := begin(t, p)
		if s.a.(Try).SlotWait != 3*time.Second || s.a.(Try).RampWait != 0 {
			t.Errorf("%+v", s.a)
		}
		s.full(ReasonBusy).served().want("try a; try b; nothing")
	})
	t.Run("full, then the other fails: waited for", func(t *testing.T) {
		s := begin(t, locals(2))
		if s.a.(Try).SlotWait != 0 {
			t.Errorf("it waits although another is left: %+v", s.a)
		}
		s.full(ReasonBusy).fail(vTransport)
		if s.a.(Try).SlotWait != 3*time.Second {
			t.Errorf("nothing else is left and it does not wait: %+v", s.a)
		}
		s.full(ReasonBusy).want("try a; try b; try a; fail 502 all_providers_failed retry-after 1")
	})
	t.Run("ramping: on down the chain, also to a costlier one, and waited for at the end", func(t *testing.T) {
		p := locals(2)
		p.Candidates[1].Price = drey.Paid
		s := begin(t, p).full(ReasonRamping).fail(vTransport)
		if s.a.(Try).RampWait != 3*time.Second {
			t.Errorf("%+v", s.a)
		}
		s.full(ReasonRamping).want("try a; try b; try a; fail 502 all_providers_failed retry-after 1")
	})
	t.Run("all ramp: each is waited for once", func(t *testing.T) {
		begin(t, locals(2)).full(ReasonRamping).full(ReasonRamping).full(ReasonRamping).
			want("try a; try b; try a; fail 503 no_provider retry-after 5")
	})
	t.Run("all full", func(t *testing.T) {
		begin(t, locals(2)).full(ReasonBusy).full(ReasonBusy).full(ReasonBusy).
			want("try a; try b; try a; fail 503 no_provider retry-after 5")
	})
	t.Run("loading: another of its class, then it again", func(t *testing.T) {
		begin(t, locals(2)).fail(vLoading).fail(vTransport).served().want("try a; try b; try a after 1s; nothing")
	})
	t.Run("loading: waited for before a costlier one, as long as allowed", func(t *testing.T) {
		p := locals(2)
		p.Candidates[1].Price = drey.Free
		begin(t, p).fail(vLoading).fail(vLoading).fail(vLoading).fail(vLoading).served().
			want("try a; try a after 1s; try a after 1s; try a after 1s; try b; nothing")
	})
	t.Run("loading: as it says", func(t *testing.T) {
		v := vLoading
		v.RetryAfter = 2 * time.Second
		begin(t, locals(1)).fail(v).fail(v).fail(v).want("try a; try a after 2s; try a after 1s; fail 503 no_provider retry-after 2")
	})
	t.Run("the cheapest is waited for before a costlier one is asked", func(t *testing.T) {
		p := locals(3)
		p.Candidates[0].Price, p.Candidates[2].Price = drey.Free, drey.Paid
		begin(t, p).full(ReasonBusy).full(ReasonBusy).want("try a; try b; try a")
	})
	t.Run("out of the question at the attempt", func(t *testing.T) {
		s := begin(t, locals(1))
		s.step(Passed{At: t0, Provider: "a", Reason: ReasonBudget}).want("try a; fail 402 insufficient_quota")
	})
	t.Run("the time is over", func(t *testing.T) {
		s := &story{t: t, at: t0, policy: DefaultPolicy()}
		s.step(Began{At: t0, Plan: locals(3), Deadline: t0.Add(time.Second)})
		s.at = t0.Add(time.Second)
		s.fail(Verdict{Class: drey.Silence}).want("try a; fail 504 timeout retry-after 1")
	})
	t.Run("no wait runs past the deadline", func(t *testing.T) {
		s := &story{t: t, at: t0, policy: DefaultPolicy()}
		s.step(Began{At: t0, Plan: locals(1), Deadline: t0.Add(time.Second)})
		s.fail(vRate2).want("try a; fail 429 rate_limit_exceeded retry-after 2")
	})
	t.Run("the same provider twice in a chain is one", func(t *testing.T) {
		p := locals(2)
		p.Candidates[1].ID = "a"
		begin(t, p).fail(vTransport).want("try a; fail 502 all_providers_failed retry-after 1")
	})
	t.Run("all of one status 401", func(t *testing.T) {
		begin(t, locals(2)).fail(v401).fail(v401).want("try a; try b; fail 502 all_providers_failed uniform 401 retry-after 1")
	})
	t.Run("a refused key beside a rate limit: time will mend it", func(t *testing.T) {
		begin(t, locals(2)).fail(v401).fail(vRate).want("try a; try b; fail 429 rate_limit_exceeded retry-after 5")
	})
	t.Run("another's event is ignored", func(t *testing.T) {
		s := begin(t, locals(2))
		s.step(Served{Provider: "b"}).step(Failed{At: t0, Provider: "z", Verdict: vServer}).step(RetryRefused{Provider: "a"}).step(Began{Plan: locals(1)}).
			want("try a; nothing; nothing; nothing; nothing")
	})
}

// A walk whose caller has the beginning of an answer looks for its rest alone.
func TestWalkResumes(t *testing.T) {
	able := func(n int, who ...int) Plan {
		p := locals(n)
		for _, i := range who {
			p.Candidates[i].Prefill = true
		}
		return p
	}
	cut := Verdict{Class: drey.BadOutput, Sub: CutOff}
	breaks := func(s *story) *story {
		return s.step(Failed{At: s.at, Provider: s.id(), Verdict: cut, Committed: true, Resumable: true})
	}
	t.Run("by the next that is able", func(t *testing.T) {
		breaks(begin(t, able(4, 0, 2, 3))).served().want("try a; try c (resume); nothing")
	})
	t.Run("not by one that failed before", func(t *testing.T) {
		breaks(begin(t, able(2, 0)).fail(vServer)).want("try a; try b; fail 502 all_providers_failed in band retry-after 1")
	})
	t.Run("not by one whose window is too small", func(t *testing.T) {
		p := able(3, 1, 2)
		p.Candidates[1].Context, p.Candidates[2].Context = 32768, 8192
		s := begin(t, p).fail(vTooLong)
		breaks(s).want("try a; try b; fail 502 all_providers_failed in band retry-after 1")
	})
	t.Run("who refuses it is passed over, and nobody is repeated", func(t *testing.T) {
		breaks(begin(t, able(3, 1, 2))).fail(vMissing).fail(vServer).want("try a; try b (resume); try c (resume); fail 502 all_providers_failed in band retry-after 1")
	})
	t.Run("one without a place is waited for when no other has one", func(t *testing.T) {
		s := breaks(begin(t, able(3, 1, 2)))
		if s.a.(Try).SlotWait != 0 {
			t.Error("it is waited for at once")
		}
		s.full(ReasonBusy).full(ReasonBusy)
		if s.a.(Try).SlotWait == 0 {
			t.Error("nobody has a place, and it is not waited for")
		}
		s.full(ReasonBusy).full(ReasonBusy).want("try a; try b (resume); try c (resume); try b (resume); try c (resume); fail 502 all_providers_failed in band retry-after 1")
	})
	t.Run("why it broke is told, and not why nobody went on", func(t *testing.T) {
		s := breaks(begin(t, able(2, 1))).fail(Verdict{Class: drey.Silence, Text: "too late"})
		if got := s.a.(Fail).Message("p", s.w); !strings.Contains(got, "the answer broke off; a: bad_output") {
			t.Error(got)
		}
	})
	t.Run("no time is left", func(t *testing.T) {
		s := &story{t: t, at: t0, policy: DefaultPolicy()}
		s.step(Began{At: t0, Plan: able(2, 1), Deadline: t0.Add(time.Second)})
		s.at = t0.Add(time.Second)
		breaks(s).want("try a; fail 502 all_providers_failed in band retry-after 1")
	})
}

func TestWalkWithoutCandidates(t *testing.T) {
	skip := func(rs ...Reason) Plan {
		var p Plan
		for i, r := range rs {
			p.Skipped = append(p.Skipped, Skip{ID: drey.ProviderID('a' + rune(i)), Index: i, Reason: r, Until: t0.Add(time.Duration(i+9) * time.Second)})
		}
		return p
	}
	for _, tc := range []struct {
		plan Plan
		want string
	}{
		{Plan{}, "fail 503 no_provider retry-after 5"},
		{skip(ReasonPaid, ReasonCredential), "fail 400 paid-gate"},
		{skip(ReasonCredential), "fail 400 no-credential"},
		{skip(ReasonBudget, ReasonPaid), "fail 402 insufficient_quota"},
		{skip(ReasonPaid, ReasonRateLimit, ReasonQuota), "fail 429 rate_limit_exceeded retry-after 9"},
		{skip(ReasonQuota, ReasonAuth), "fail 429 rate_limit_exceeded retry-after 9"},
		{skip(ReasonAuth), "fail 502 all_providers_failed retry-after 1"},
		{skip(ReasonExcluded, ReasonRateLimit), "fail 503 no_provider retry-after 9"},
		{skip(ReasonRestarting), "fail 503 no_provider retry-after 9"},
		{skip(ReasonResource, ReasonBudget), "fail 503 no_provider retry-after 9"},
	} {
		begin(t, tc.plan).want(tc.want)
	}
}

// FuzzWalk reads bytes as a plan and a sequence of events and checks what must
// hold whatever happens.
func FuzzWalk(f *testing.F) {
	f.Add([]byte{3, 0, 1, 2, 5, 0, 7, 1, 9, 2, 11, 3})
	f.Add([]byte{2, 9, 9, 14, 14, 14, 14, 14, 14, 14, 200, 201, 202})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b)
		}
		p := Plan{}
		for i := range next() % 6 {
			b := next()
			p.Candidates = append(p.Candidates, Candidate{
				ID: drey.ProviderID('a' + rune(i-b>>7)), Index: i, Price: drey.Price(b % 3), Context: (b >> 2 % 4) * 1000,
				QueueWait: time.Duration(b>>4%3) * time.Second, Trial: b>>6&1 == 1, Prefill: b>>5&1 == 1,
			})
		}
		policy := Policy{Retries: next()%5 - 1, Wait: 5 * time.Second}
		limit := policy.Retries
		if limit < 0 {
			limit = 1
		}
		at := t0
		w, a := Step(Walk{}, Began{At: at, Plan: p, Tokens: 500}, policy)
		tries, retries, steps := map[drey.ProviderID]int{}, map[drey.ProviderID]int{}, 0
		seenFull := map[drey.ProviderID]int{}
		loading := map[drey.ProviderID]bool{}
		broken := 0 // answers that broke after the caller had something of them
		for {
			try, ok := a.(Try)
			if !ok {
				break
			}
			if steps++; steps > 200 {
				t.Fatal("the walk does not end")
			}
			if try.After < 0 || try.After > 7*24*time.Hour {
				t.Fatalf("absurd wait: %+v", try)
			}
			if try.Retry {
				retries[try.ID]++
				if try.Trial || len(retries) > 1 {
					t.Fatalf("not to be repeated: %+v", try)
				}
			}
			if try.Resume != (broken > 0) || try.Resume && !try.Prefill {
				t.Fatalf("%d answers broke, and then %s is asked", broken, tell(try))
			}
			before := w
			b := next()
			at = at.Add(time.Duration(b%5) * 100 * time.Millisecond)
			var ev Event
			switch kind := b % 25; {
			case kind == 24 || len(data) == 0 && b%2 == 1:
				ev = Served{Provider: try.ID}
			case kind == 23:
				ev = Passed{At: at, Provider: try.ID, Reason: ReasonBudget}
			case kind == 22:
				ev = Full{At: at, Provider: try.ID, Reason: ReasonBusy}
			case kind == 21:
				ev = Full{At: at, Provider: try.ID, Reason: ReasonRamping}
			case kind == 20 && try.Retry:
				ev = RetryRefused{At: at, Provider: try.ID}
			default:
				v := walkVerdicts[kind%len(walkVerdicts)].v
				if !try.Retry && !loading[try.ID] && seenFull[try.ID] == 0 {
					if tries[try.ID]++; tries[try.ID] > 1 {
						t.Fatalf("%s is tried twice without being a retry", try.ID)
					}
				}
				loading[try.ID] = loading[try.ID] || v.Class == drey.Loading
				ev = Failed{At: at, Provider: try.ID, Verdict: v, Committed: b > 240, Resumable: b&1 == 1, Rand: float64(b) / 256}
			}
			if fe, ok := ev.(Full); ok {
				if seenFull[fe.Provider]++; seenFull[fe.Provider] > 5 {
					t.Fatalf("%s is asked for a place again and again", fe.Provider)
				}
			}
			w, a = Step(w, ev, policy)
			again, b2 := Step(before, ev, policy)
			if !reflect.DeepEqual(again, w) || !reflect.DeepEqual(a, b2) {
				t.Fatal("a step changed what it was given")
			}
			if fe, ok := ev.(Failed); ok && fe.Committed {
				broken++
				if next, ok := a.(Try); ok && (!next.Resume || !fe.Resumable || broken > 1) {
					t.Fatalf("after commit: %s", tell(a))
				}
			}
			switch end := a.(type) {
			case Relay, Give:
				if broken > 0 {
					t.Fatalf("after commit: %s", tell(a))
				}
			case Fail:
				if end.InBand != (broken > 0) {
					t.Fatalf("in band %v, and %d answers broke", end.InBand, broken)
				}
			}
		}
		for id, n := range retries {
			if n > limit {
				t.Fatalf("%s is repeated %d times, at most %d", id, n, limit)
			}
		}
		if !w.Ended() {
			t.Fatalf("no end after %s", tell(a))
		}
		for _, ev := range []Event{Began{At: at, Plan: p}, Served{Provider: "a"}, Failed{At: at, Provider: "a", Verdict: vServer}, Full{At: at, Provider: "a"}, RetryRefused{At: at, Provider: "a"}} {
			if _, a := Step(w, ev, policy); a != nil {
				t.Fatalf("after the end: %s", tell(a))
			}
		}
		// What explains the walk never fails on it.
		Explain("p", w, "").Each(func(k, v string) {
			if strings.ContainsAny(v, "\r\n") || v == "" {
				t.Fatalf("%s: %q", k, v)
			}
		})
		if f, ok := a.(Fail); ok {
			if f.Message("p", w) == "" {
				t.Fatal("no message")
			}
			f.Detail(w, nil)
		}
	})
}

func BenchmarkWalkServed(b *testing.B) {
	p := threePlan()
	b.ReportAllocs()
	for b.Loop() {
		w, _ := Step(Walk{}, Began{At: t0, Plan: p}, DefaultPolicy())
		if w, _ = Step(w, Served{Provider: "a"}, DefaultPolicy()); !w.Ended() {
			b.Fatal()
		}
	}
}
