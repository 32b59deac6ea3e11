package exam

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

var update = flag.Bool("update", false, "rewrite golden files")

// subject is a provider as it would be parsed, with changes.
func subject(change func(*config.Provider)) Subject {
	p := config.NewProvider("nest", "http://127.0.0.1:8080/v1", config.WireOpenAI)
	p.Model = "squirrel"
	if change != nil {
		change(&p)
	}
	return Subject{Config: &p}
}

// listed is the list of a server that has the model.
var listed = Listing{Models: []string{"squirrel"}, Listed: true}

// answers says what comes of the n-th question of a probe, from 0.
type answers func(probe string, n int, a Ask) Answer

// good answers as a model does with which nothing is wrong.
func good(probe string, n int, a Ask) Answer {
	usage := wire.Usage{Input: 50, Output: 10}
	out := func(text string) Answer {
		return Answer{Response: &wire.Response{Blocks: []wire.Block{{Kind: wire.Text, Text: text}}, Stop: wire.StopEnd, Usage: usage}, First: 90 * time.Millisecond}
	}
	call := wire.Block{Kind: wire.ToolUse, ID: "c", Name: "echo", Input: json.RawMessage(`{"text":"acorn"}`)}
	switch probe {
	case Context:
		usage.Input = 5000
		return out("KINGFISHER")
	case Tools:
		ans := out("")
		ans.Response.Blocks = []wire.Block{call, call}
		return ans
	case Streaming:
		ans := out("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30")
		ans.Streamed, ans.Frames, ans.Spread = true, 30, 600*time.Millisecond
		return ans
	case Cache:
		usage.CacheRead = n * 3000
		return out("1")
	case Thinking:
		ans := out("4")
		ans.Response.Blocks = append([]wire.Block{{Kind: wire.Reasoning, Text: "11, 13, 17, 19"}}, ans.Response.Blocks...)
		return ans
	case Vision:
		return out("Red.")
	}
	return out("42")
}

// but answers as good does, except to one probe.
func but(probe string, other func(n int, a Ask) Answer) answers {
	return func(p string, n int, a Ask) Answer {
		if p == probe {
			return other(n, a)
		}
		return good(p, n, a)
	}
}

// says is an answer of one text.
func says(text string) Answer {
	return Answer{Response: &wire.Response{Blocks: []wire.Block{{Kind: wire.Text, Text: text}}, Stop: wire.StopEnd, Usage: wire.Usage{Input: 50, Output: 10}}}
}

// fails is a failure that came as a status.
func fails(status int, body string) Answer {
	v := route.Classify(route.Evidence{Status: status, Body: []byte(body), Model: true})
	return Answer{Failure: &Failure{Verdict: v}}
}

// breaks is a failure that the transport saw.
func breaks(f route.Fault, text string) Answer {
	return Answer{Failure: &Failure{Verdict: route.Classify(route.Evidence{Fault: f, Text: text}), Fault: f}}
}

// mostAsks is more than any examination asks.
const mostAsks = 40

// perform runs a whole examination.
func perform(t *testing.T, s Subject, l Listing, by answers) (*Exam, []Ask) {
	t.Helper()
	e := New(s, l, "tuesday")
	var asks []Ask
	n, last := 0, ""
	for len(asks) < mostAsks {
		a, probe, ok := e.Next()
		if !ok {
			return e, asks
		}
		if probe != last {
			n, last = 0, probe
		}
		asks = append(asks, a)
		e.Answer(by(probe, n, a))
		n++
	}
	t.Fatalf("it asks for ever: %v", e.Findings())
	return nil, nil
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s has changed; if it should have, run go test -update (-want +got):\n%s", file, diff)
	}
}

// filling is what makes prompts long.
var filling = regexp.MustCompile(`(Note \d+ of log [^\\]*\\n)+`)

func short(body []byte) []byte { return filling.ReplaceAll(body, []byte("[notes]")) }

func indent(t *testing.T, body []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", " "); err != nil {
		t.Fatalf("no JSON: %v: %s", err, body)
	}
	return b.String()
}
