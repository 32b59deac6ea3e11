package gateway

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
)

// faults are what a provider can do wrong.
var faults = []struct {
	name   string
	script fake.Script
}{
	{"refused", fake.Always(fake.Refused())},
	{"reset before headers", fake.Always(fake.Reset())},
	{"closed before headers", fake.Always(fake.Hangup())},
	{"500 once", fake.FailFirst(1, fake.ServerError(), fake.Text("first says hello"))},
	{"503 for ever", fake.Always(fake.Unavailable())},
	{"529", fake.Always(fake.Overloaded())},
	{"429", fake.Always(fake.RateLimited())},
	{"429 retry-after 2s", fake.Always(fake.RateLimited().RetryAfter(2 * time.Second))},
	{"429 retry-after 120s", fake.Always(fake.RateLimited().RetryAfter(2 * time.Minute))},
	{"401", fake.Always(fake.Unauthorized())},
	{"402", fake.Always(fake.PaymentRequired())},
	{"404 model", fake.Always(fake.ModelNotFound())},
	{"400 context", fake.Always(fake.ContextLength(5000, 4096))},
	{"400 filter", fake.Always(fake.ContentFilter())},
	{"400 prefill", fake.Always(fake.PrefillRefused())},
	{"413", fake.Always(fake.TooLarge())},
	{"redirect", fake.Always(fake.Redirect("http://elsewhere.test/"))},
	{"silent", fake.Always(fake.Silent())},
	{"slow first token", fake.Always(fake.Text("first says hello").TTFT(20 * time.Second))},
	{"first token too slow", fake.Always(fake.Text("first says hello").TTFT(20 * time.Minute))},
	{"stall", fake.Always(fake.Text("first says hello to you all").StallAfter(5))},
	{"cut, reset", fake.Always(fake.Text("first says hello to you all").CutAfter(5, fake.RST))},
	{"cut, closed", fake.Always(fake.Text("first says hello to you all").CutAfter(5, fake.FIN))},
	{"cut, clean end", fake.Always(fake.Text("first says hello to you all").CutAfter(5, fake.Clean))},
	{"cut before content", fake.Always(fake.Text("first says hello to you all").CutAfter(1, fake.Clean))},
	{"malformed chunk", fake.Always(fake.Text("first says hello to you all").MalformedAfter(5))},
	{"error event at once", fake.Always(fake.Text("first says hello").ErrorAfter(0, "overloaded_error", "Overloaded"))},
	{"error event midway", fake.Always(fake.Text("first says hello to you all").ErrorAfter(5, "api_error", "it broke"))},
	{"no end mark", fake.Always(fake.Text("first says hello").NoEndMark())},
	{"empty", fake.Always(fake.Empty())},
	{"html", fake.Always(fake.HTML())},
	{"other json", fake.Always(fake.OtherJSON())},
	{"out of memory", fake.Always(fake.OutOfMemory())},
	{"loading", fake.FailFirst(3, fake.Loading(), fake.Text("first says hello"))},
}

// TestFaults is the table of what a caller sees when its first provider fails,
// what the second provider sees of it, and what is held against the first.
func TestFaults(t *testing.T) {
	for _, alone := range []bool{false, true} {
		var b bytes.Buffer
		w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		if alone {
			fmt.Fprintln(w, "FAULT\tCALLER\tPROVIDER\tFORM\tSTATUS\tTEXT\tEND\tERROR\tRETRY-AFTER\tATTEMPTS\tTOOK\tAGAINST FIRST\tEVENTS")
		} else {
			fmt.Fprintln(w, "FAULT\tCALLER\tPROVIDER\tFORM\tSTATUS\tTEXT\tEND\tERROR\tREASON\tSECOND SEES\tTOOK\tAGAINST FIRST\tEVENTS")
		}
		for _, f := range faults {
			for _, caller := range callers {
				for _, provider := range bothWires {
					for _, stream := range []bool{false, true} {
						t.Run(name(f.name, " ", caller, " ", provider, " ", form(stream), " ", map[bool]string{true: "alone"}[alone]), func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) {
								fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.name, caller, provider, form(stream), faultRow(t, f.script, caller, provider, stream, alone))
							})
						})
					}
				}
			}
		}
		w.Flush()
		golden(t, map[bool]string{false: "faults-fallback.golden", true: "faults-alone.golden"}[alone], b.Bytes())
	}
}

func faultRow(t *testing.T, script fake.Script, caller, provider drey.Wire, stream, alone bool) string {
	providers := []scripted{{id: "first", wire: provider, script: script}}
	if !alone {
		providers = append(providers, scripted{id: "second", wire: provider, script: fake.Always(fake.Text("second says hello"))})
	}
	l := newLab(t, nil, providers...)
	start := time.Now()
	a := l.ask(t.Context(), caller, prompt(caller, stream))
	took := time.Since(start).Round(100 * time.Millisecond)

	text, complete := a.text(caller)
	if text == "" {
		text = "-"
	}
	end := map[bool]string{true: "complete", false: "-"}[complete]
	if a.aborted {
		end = "broken"
	}
	errType := a.errorType()
	if errType == "" {
		errType = "-"
	}
	// The rule above all: an answer that is not whole never looks whole, and a
	// whole one carries no error.
	if complete && errType != "-" {
		t.Errorf("a complete answer with an error in it: %s", a.body)
	}
	if !complete && errType == "-" && !a.aborted {
		t.Errorf("neither complete nor an error: %d %s", a.status, a.body)
	}
	if a.header.Get("X-Drey-Request-Id") == "" || a.header.Get("Request-Id") == "" {
		t.Errorf("no request id: %v", a.header)
	}
	tally := l.view("first")
	against := fmt.Sprintf("consecutive %d", tally.ConsecutiveFailures)
	for _, c := range slices.Sorted(maps.Keys(tally.Failures)) {
		against += fmt.Sprintf(" %s %d", c, tally.Failures[c])
	}
	events := fmt.Sprint(l.emitted())
	if alone {
		retry := a.header.Get("Retry-After")
		if retry == "" {
			retry = "-"
		}
		return fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", a.status, text, end, errType, retry, a.header.Get("X-Drey-Attempts"), took, against, events)
	}
	reason := a.header.Get("X-Drey-Fallback-Reason")
	if reason == "" {
		reason = "-"
	}
	return fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s", a.status, text, end, errType, reason, len(l.fakes["second"].Calls()), took, against, events)
}
