package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// TestFailureTable holds the table of the gateway contract §9.
func TestFailureTable(t *testing.T) {
	var b strings.Builder
	for c := CaseInternal; c <= CaseCancelled; c++ {
		a := Refusal{Case: c, InARow: 1}.Tell(drey.WireAnthropic)
		o := Refusal{Case: c, InARow: 1}.Tell(drey.WireChat)
		if r := (Refusal{Case: c, InARow: 1}).Tell(drey.WireResponses); r != o {
			t.Errorf("%d: the OpenAI wires differ", c)
		}
		fmt.Fprintf(&b, "%d %-22s %s / %s", a.Status, a.Type, o.Type, o.Code)
		if a.RetryAfter > 0 {
			fmt.Fprintf(&b, " retry-after %d", a.RetryAfter)
		}
		if a.NoRetry {
			b.WriteString(" x-should-retry false")
		}
		b.WriteByte('\n')
		if a.NoRetry && a.RetryAfter > 0 {
			t.Errorf("%d says come back and do not", c)
		}
		if retried := a.Status == 429 || a.Status == 502 || a.Status == 503 || a.Status == 504; retried != (a.RetryAfter > 0) {
			t.Errorf("%d: Retry-After goes with every 429, 502, 503 and 504 and with no other", a.Status)
		}
	}
	golden(t, "failure.golden", []byte(b.String()))
}

func TestRetryAfterTold(t *testing.T) {
	for row, want := range []int{1, 1, 2, 4, 8, 16, 32, 60, 60} {
		if got := (Refusal{Case: CaseChainFailed, InARow: row}).Tell(drey.WireChat).RetryAfter; got != want {
			t.Errorf("%d in a row: %d, want %d", row, got, want)
		}
	}
	if got := (Refusal{Case: CaseTimeout, InARow: 1 << 30}).Tell(drey.WireChat).RetryAfter; got != 60 {
		t.Errorf("got %d", got)
	}
	for in, want := range map[time.Duration]int{-time.Hour: 1, 0: 1, 1: 1, 1500 * time.Millisecond: 2, time.Minute: 60, time.Hour: 60} {
		if got := (Refusal{Case: CaseRateLimited, At: t0, RetryAt: t0.Add(in)}).Tell(drey.WireChat).RetryAfter; got != want {
			t.Errorf("in %s: %d, want %d", in, got, want)
		}
	}
	if got := (Refusal{Case: CaseBadRequest, Code: CodeUnknownProfile}).Tell(drey.WireChat).Code; got != CodeUnknownProfile {
		t.Error(got)
	}
	if got := (Refusal{Case: 200}).Tell(drey.WireChat).Status; got != 500 {
		t.Error(got)
	}
}

func TestRelayed(t *testing.T) {
	for _, tc := range []struct {
		v    Verdict
		w    drey.Wire
		want Told
	}{
		{Verdict{Status: 400, Type: "invalid_request_error"}, drey.WireAnthropic, Told{Status: 400, Type: "invalid_request_error"}},
		{Verdict{Status: 422, Type: "invalid_value"}, drey.WireChat, Told{Status: 422, Type: "invalid_request_error", Code: "invalid_value"}},
		{Verdict{Status: 413}, drey.WireAnthropic, Told{Status: 413, Type: "request_too_large"}},
		{Verdict{Status: 403, Sub: ContentFilter}, drey.WireChat, Told{Status: 400, Type: "invalid_request_error", Code: "content_filter"}},
		{Verdict{Status: 404, Sub: Unsupported}, drey.WireChat, Told{Status: 400, Type: "invalid_request_error"}},
		{Verdict{Status: 200, Type: "400"}, drey.WireChat, Told{Status: 400, Type: "invalid_request_error"}},
	} {
		if got := Relayed(tc.v, tc.w); got != tc.want {
			t.Errorf("%+v: got %+v, want %+v", tc.v, got, tc.want)
		}
	}
}

func TestCaseOf(t *testing.T) {
	_, err := testDirectory().Choose(Choosing{Body: "nope"})
	e, _ := errors.AsType[*drey.Error](err)
	if c, code := CaseOf(e); c != CaseBadRequest || code != CodeUnknownProfile {
		t.Error(c, code)
	}
	_, err = testDirectory().Choose(Choosing{Body: "default", Allowed: []drey.ProfileID{"coder"}})
	e, _ = errors.AsType[*drey.Error](err)
	if c, _ := CaseOf(e); c != CaseForbidden {
		t.Error(c)
	}
}

func TestMessagesAndDetail(t *testing.T) {
	p := locals(2)
	p.Skipped = []Skip{{ID: "x", Index: 2, Reason: ReasonQuota, Until: t0.Add(2 * time.Hour)}}
	s := begin(t, p).fail(Verdict{Class: drey.Server, Status: 502, Text: "bad secret"}).fail(Verdict{Class: drey.Transport, Text: "connection refused"})
	s.fail(Verdict{Class: drey.Transport, Text: "connection refused"}) // the repetition of a
	f := s.a.(Fail)
	if got, want := f.Message("coder", s.w), "all providers of profile 'coder' failed; last a: transport (connection refused); check that it runs and that its url is right"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err := json.Marshal(f.Detail(s.w, func(s string) string { return strings.ReplaceAll(s, "secret", "***") }))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"attempts":[{"provider":"a","class":"server","status":502,"error":"bad ***"},{"provider":"b","class":"transport","error":"connection refused"},{"provider":"a","class":"transport","error":"connection refused"}],` +
		`"skipped":[{"provider":"x","reason":"parked-quota","until":"2026-01-02T17:04:05.000000+00:00"}],"retry_at":"2026-01-02T17:04:05.000000+00:00"}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
	empty, _ := json.Marshal(Fail{}.Detail(Walk{}, nil))
	if string(empty) != `{"attempts":[],"skipped":[]}` {
		t.Errorf("%s", empty)
	}
}

func TestExplain(t *testing.T) {
	p := Plan{
		Candidates: []Candidate{{ID: "b", Index: 1}, {ID: "d", Index: 3}, {ID: "a", Index: 0, Moved: ReasonDrift}},
		Skipped:    []Skip{{ID: "c", Index: 2, Reason: ReasonRateLimit}, {ID: "e", Index: 4, Reason: ReasonExcluded}},
	}
	s := begin(t, p).fail(vServer)
	for _, tc := range []struct{ name, got, want string }{
		{"served", x(Explain("p", s.w, "d")), "X-Drey-Profile=p X-Drey-Provider=d X-Drey-Attempts=2 X-Drey-Fallback-From=a X-Drey-Fallback-To=d X-Drey-Fallback-Reason=drift,server,parked-rate-limit"},
		{"not served", x(Explain("p", s.w, "")), "X-Drey-Profile=p X-Drey-Attempts=1 X-Drey-Fallback-From=b X-Drey-Fallback-Reason=server,parked-rate-limit,excluded"},
		{"comment", string(Explain("p", s.w, "d").Comment()), ": drey provider=d attempts=2 reason=drift,server,parked-rate-limit\n\n"},
		{"at once", x(Explain("p q/é", begin(t, locals(2)).w, "a")), "X-Drey-Profile=p_q___ X-Drey-Provider=a X-Drey-Attempts=1"},
		{"the normal case of a configuration", x(Explain("p", begin(t, Plan{
			Candidates: []Candidate{{ID: "c", Index: 2}},
			Skipped:    []Skip{{ID: "a", Index: 0, Reason: ReasonPaid}, {ID: "b", Index: 1, Reason: ReasonCredential}},
		}).w, "c")), "X-Drey-Profile=p X-Drey-Provider=c X-Drey-Attempts=1"},
		{"busy", x(Explain("p", begin(t, locals(2)).full(ReasonBusy).w, "b")), "X-Drey-Profile=p X-Drey-Provider=b X-Drey-Attempts=1 X-Drey-Fallback-From=a X-Drey-Fallback-To=b X-Drey-Fallback-Reason=busy"},
		{"repeated, then served", x(Explain("p", begin(t, locals(1)).fail(vServer).w, "a")), "X-Drey-Profile=p X-Drey-Provider=a X-Drey-Attempts=2"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.name, tc.got, tc.want)
		}
	}
}

func x(e Explanation) string {
	var out []string
	e.Each(func(k, v string) { out = append(out, k+"="+v) })
	return strings.Join(out, " ")
}

func TestRetryBudget(t *testing.T) {
	var b RetryBudget
	take := func(at time.Time, n int) (got int) {
		for range n {
			if b.Take(at, 0.2, 3) {
				got++
			}
		}
		return got
	}
	if got := take(t0, 10); got != 3 {
		t.Errorf("the floor: %d", got)
	}
	if got := take(t0.Add(9*time.Second), 10); got != 0 {
		t.Errorf("within ten seconds: %d", got)
	}
	if got := take(t0.Add(10*time.Second), 10); got != 3 {
		t.Errorf("after ten seconds: %d", got)
	}
	b = RetryBudget{}
	for range 100 {
		b.Request(t0)
	}
	if got := take(t0.Add(59*time.Second), 100); got != 20 {
		t.Errorf("a fifth of 100: %d", got)
	}
	if got := take(t0.Add(60*time.Second), 100); got != 0 {
		t.Errorf("the requests are gone and the floor is used: %d", got)
	}
	if got := take(t0.Add(-time.Hour), 100); got != 3 {
		t.Errorf("a clock set back by an hour: %d", got)
	}
	if b = (RetryBudget{}); b.Take(t0, 0, 0) {
		t.Error("neither share nor floor")
	}
}

// TestRetryBudgetAgainstTwin checks it against one that keeps every time.
func TestRetryBudgetAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b RetryBudget
		var requests, retries []int64
		at := t0
		within := func(ts []int64, s int64) (n int) {
			for _, x := range ts {
				if x > at.Unix()-s {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 80).Draw(t, "n") {
			at = at.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			if rapid.Bool().Draw(t, "request") {
				b.Request(at)
				requests = append(requests, at.Unix())
				continue
			}
			want := float64(within(retries, 60)+1) <= 0.2*float64(within(requests, 60)) || within(retries, 10) < 3
			if got := b.Take(at, 0.2, 3); got != want {
				t.Fatalf("got %v", got)
			}
			if want {
				retries = append(retries, at.Unix())
			}
		}
	})
}

func TestTiming(t *testing.T) {
	slow := Rate{}.Observe(10*time.Second, 1000) // 10 ms a token
	for _, tc := range []struct {
		name   string
		p      drey.Price
		rate   Rate
		tokens int
		want   time.Duration
	}{
		{"remote, nothing known", drey.Paid, Rate{}, 5000, 30 * time.Second},
		{"local, nothing known", drey.Local, Rate{}, 5000, 120 * time.Second},
		{"learned", drey.Local, slow, 5000, 270 * time.Second},
		{"most", drey.Local, slow, 1 << 40, 900 * time.Second},
		{"no tokens", drey.Free, slow, -5, 30 * time.Second},
	} {
		if got := FirstToken(tc.p, tc.rate, tc.tokens); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	if got := Unstreamed(Rate{}, 100); got != 10*time.Second {
		t.Error(got)
	}
	if got := Unstreamed(slow, 32000); got != 2*4096*10*time.Millisecond {
		t.Error(got)
	}
	if got := Unstreamed(Rate{}, 0); got != 2*4096*50*time.Millisecond {
		t.Error(got)
	}
	if r := (Rate{}).Observe(time.Second, 0).Observe(0, 5); r.PerToken() != 0 {
		t.Error("something was learned from nothing")
	}
	// A tiny prompt's latency hardly moves what a long one taught.
	if got := slow.Observe(2*time.Second, 5).PerToken(); got > 13*time.Millisecond {
		t.Errorf("moved to %s", got)
	}
	var r Rate
	for range 100 {
		r = r.Observe(time.Second, 100)
	}
	for range 30 {
		r = r.Observe(2*time.Second, 100)
	}
	if got := r.PerToken(); got < 19*time.Millisecond || got > 20*time.Millisecond {
		t.Errorf("after a change it learned %s", got)
	}
	for in, want := range map[string]time.Duration{"600": 595 * time.Second, " 6.5 ": 1500 * time.Millisecond, "5": 0, "": 0, "NaN": 0, "1e30": 0, "x": 0} {
		d, ok := CallerDeadline(in, t0)
		if ok != (want > 0) || ok && d.Sub(t0) != want {
			t.Errorf("%q: %s, %v", in, d.Sub(t0), ok)
		}
	}
	for range 1000 {
		if d := FirstToken(drey.Local, Rate{rand.Float64() * 1e300, rand.Float64()}, rand.Int()); d < 120*time.Second || d > 900*time.Second {
			t.Fatal(d)
		}
	}
}
