package route

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var t0 = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-golden +got); read it, then -update:\n%s", path, d)
	}
}

func header(kv ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return func(k string) string { return m[k] }
}

// TestTable prints what every kind of evidence means, and what a walk does
// after each class of failure at each place of a chain. It is the document of
// the package: read it for surprises.
func TestTable(t *testing.T) {
	var b bytes.Buffer
	classifyTable(&b)
	walkTable(&b)
	golden(t, "table.golden", b.Bytes())
}

func classifyTable(b *bytes.Buffer) {
	line := func(name string, e Evidence) {
		e.At = t0
		v := Classify(e)
		flags := ""
		if v.Counts {
			flags += " counts"
		}
		if v.Parks {
			flags += " parks"
		}
		if v.RetryAfter > 0 {
			flags += " after " + v.RetryAfter.String()
		}
		fmt.Fprintf(b, "%-34s -> %-10s %-14s%s\n", name, v.Class, v.Sub, flags)
	}
	fmt.Fprintln(b, "== Classify: statuses, bare and with Retry-After: 7")
	for _, status := range []int{100, 200, 204, 301, 308, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 422, 425, 429, 431, 451, 499,
		500, 501, 502, 503, 504, 505, 507, 511, 520, 521, 522, 523, 524, 525, 526, 529, 530, 599} {
		line(fmt.Sprint(status), Evidence{Status: status, Model: true, Text: "x"})
		if status >= 400 {
			line(fmt.Sprint(status, " retry-after"), Evidence{Status: status, Model: true, Header: header("retry-after", "7")})
		}
	}
	fmt.Fprintln(b, "\n== Classify: faults, bare and of a process that is not ready")
	for f := CallerGone; f <= EmptyAnswer; f++ {
		line(f.String(), Evidence{Fault: f})
		line(f.String()+", own", Evidence{Fault: f, Own: true})
	}
	fmt.Fprintln(b, "\n== Classify: error events inside an answer")
	for _, typ := range []string{"invalid_request_error", "authentication_error", "permission_error", "billing_error", "not_found_error", "request_too_large",
		"rate_limit_error", "overloaded_error", "api_error", "timeout_error", "server_error", "rate_limit_exceeded", "insufficient_quota", "invalid_api_key",
		"context_length_exceeded", "content_filter", "model_not_found", "402", "429", "502", "nobody_knows_this"} {
		line(typ, Evidence{Status: 200, InBand: typ, Model: true})
	}
	fmt.Fprintln(b, "\n== Classify: one text under several statuses, 429 first as it is")
	for _, text := range []string{"out of memory", "no room for the request", "model oom-7b is busy", "model is loading", "You've hit your limit; it resets in 2h", "prompt is too long: 9 tokens > 8 maximum", "this model does not support tools", "flagged by our content policy"} {
		for _, status := range []int{200, 400, 403, 404, 413, 425, 429, 500, 503} {
			e := Evidence{Status: status, Text: text, Model: true}
			if status == 200 {
				e.InBand = "invalid_request_error"
			}
			line(fmt.Sprintf("%d %.28s", status, text), e)
		}
	}
}

// walkVerdicts is one verdict of each kind that a walk tells apart.
var walkVerdicts = []struct {
	name string
	v    Verdict
}{
	{"internal", Verdict{Class: drey.Internal}},
	{"cancel", Verdict{Class: drey.Cancel}},
	{"caller", Verdict{Class: drey.Caller, Status: 400}},
	{"caller/context", Verdict{Class: drey.Caller, Sub: ContextLength, Status: 400}},
	{"caller/unsupported", Verdict{Class: drey.Caller, Sub: Unsupported, Status: 400}},
	{"caller/filter", Verdict{Class: drey.Caller, Sub: ContentFilter, Status: 400}},
	{"auth", Verdict{Class: drey.Auth, Sub: BadCredential, Status: 401}},
	{"auth/quota", Verdict{Class: drey.Auth, Sub: Quota, Status: 402}},
	{"rate_limit", Verdict{Class: drey.RateLimit, Status: 429}},
	{"rate_limit 3s", Verdict{Class: drey.RateLimit, Status: 429, RetryAfter: 3 * time.Second}},
	{"rate_limit 60s", Verdict{Class: drey.RateLimit, Status: 429, RetryAfter: time.Minute}},
	{"transport", Verdict{Class: drey.Transport}},
	{"server", Verdict{Class: drey.Server, Status: 500}},
	{"silence", Verdict{Class: drey.Silence}},
	{"loading", Verdict{Class: drey.Loading, Status: 503}},
	{"bad_output/cut", Verdict{Class: drey.BadOutput, Sub: CutOff}},
	{"bad_output/empty", Verdict{Class: drey.BadOutput, Sub: Empty}},
	{"resource", Verdict{Class: drey.Resource}},
}

// walkTable fails with each verdict at the first, a middle and the last place
// of a chain (those before failed by transport, which is never repeated),
// before and after commit, and prints the story until the walk ends or has
// asked six times.
func walkTable(b *bytes.Buffer) {
	fmt.Fprintln(b, "\n== Step: local a (8k), free b (32k), paid c (200k); the same verdict each time from the place named on")
	for _, place := range []int{0, 1, 2} {
		for _, tc := range walkVerdicts {
			w, a := Step(Walk{}, Began{At: t0, Plan: threePlan(), Tokens: 9000}, DefaultPolicy())
			for range place {
				w, a = Step(w, Failed{At: t0, Provider: a.(Try).ID, Verdict: Verdict{Class: drey.Transport}}, DefaultPolicy())
			}
			story := []string{tell(a)}
			for n := 0; n < 6; n++ {
				try, ok := a.(Try)
				if !ok {
					break
				}
				w, a = Step(w, Failed{At: t0, Provider: try.ID, Verdict: tc.v, Rand: 0.5}, DefaultPolicy())
				story = append(story, tell(a))
			}
			fmt.Fprintf(b, "%-19s from %s: %s\n", tc.name, "abc"[place:place+1], strings.Join(story, "; "))
		}
	}
	fmt.Fprintln(b, "\n== Step: after commit")
	for _, tc := range walkVerdicts {
		w, a := Step(Walk{}, Began{At: t0, Plan: threePlan()}, DefaultPolicy())
		_, a = Step(w, Failed{At: t0, Provider: a.(Try).ID, Verdict: tc.v, Committed: true}, DefaultPolicy())
		fmt.Fprintf(b, "%-19s %s\n", tc.name, tell(a))
	}
	fmt.Fprintln(b, "\n== Step: after commit, resumable; b and c go on from the start of an answer; then the same verdict each time")
	for _, committed := range []bool{false, true} {
		for _, tc := range walkVerdicts {
			plan := threePlan()
			plan.Candidates[1].Prefill, plan.Candidates[2].Prefill = true, true
			w, a := Step(Walk{}, Began{At: t0, Plan: plan}, DefaultPolicy())
			w, a = Step(w, Failed{At: t0, Provider: a.(Try).ID, Verdict: tc.v, Committed: true, Resumable: true}, DefaultPolicy())
			story := []string{tell(a)}
			for try, ok := a.(Try); ok; try, ok = a.(Try) {
				w, a = Step(w, Failed{At: t0, Provider: try.ID, Verdict: tc.v, Committed: committed, Resumable: true}, DefaultPolicy())
				story = append(story, tell(a))
			}
			fmt.Fprintf(b, "%-19s %s: %s\n", tc.name, map[bool]string{false: "unseen", true: "seen"}[committed], strings.Join(story, "; "))
		}
	}
}

func threePlan() Plan {
	return Plan{Candidates: []Candidate{
		{ID: "a", Index: 0, Price: drey.Local, Context: 8192, QueueWait: 2 * time.Second},
		{ID: "b", Index: 1, Price: drey.Free, Context: 32768, QueueWait: 2 * time.Second},
		{ID: "c", Index: 2, Price: drey.Paid, Context: 200000, QueueWait: 2 * time.Second},
	}}
}

// tell prints an action on one line.
func tell(a Action) string {
	switch a := a.(type) {
	case nil:
		return "nothing"
	case Try:
		s := "try " + string(a.ID)
		if a.After > 0 {
			s += " after " + a.After.String()
		}
		if a.Retry {
			s += " (retry)"
		}
		if a.Resume {
			s += " (resume)"
		}
		return s
	case Relay:
		return "relay " + string(a.Provider)
	case Give:
		return "give " + string(a.Provider)
	case Fail:
		told := Refusal{Case: a.Case, Code: a.Code, At: t0, RetryAt: a.RetryAt}.Tell(drey.WireAnthropic)
		s := fmt.Sprintf("fail %d %s", told.Status, told.Code)
		if a.InBand {
			s += " in band"
		}
		if a.Uniform != 0 {
			s += fmt.Sprintf(" uniform %d", a.Uniform)
		}
		if told.RetryAfter > 0 {
			s += fmt.Sprintf(" retry-after %d", told.RetryAfter)
		}
		return s
	default:
		return fmt.Sprintf("%T", a)
	}
}
