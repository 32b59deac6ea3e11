package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/wire/sse"
)

// script is a decoder that tells, frame by frame, what it is given.
type script struct {
	steps [][]Event
	errs  map[int]error // by step; len(steps) is Close
	at    int
}

func (s *script) next(dst []Event) ([]Event, error) {
	at := s.at
	s.at++
	if at < len(s.steps) {
		dst = append(dst, s.steps[at]...)
	}
	return dst, s.errs[at]
}

func (s *script) Decode(dst []Event, _ sse.Event) ([]Event, error) { return s.next(dst) }
func (s *script) Close(dst []Event) ([]Event, error)               { s.at = len(s.steps); return s.next(dst) }

// plain is an encoder that writes events in short.
type plain struct{}

func (plain) Encode(dst []byte, ev Event) []byte {
	switch ev.Kind {
	case Start:
		return append(dst, "start "...)
	case BlockStart:
		return fmt.Appendf(dst, "%d:%s%s{", ev.Block.Kind, ev.Block.ID, ev.Block.Name)
	case Delta, Sign:
		return append(dst, ev.Text...)
	case BlockStop:
		return append(dst, "} "...)
	case Finish:
		return fmt.Appendf(dst, "finish %s", ev.Stop)
	}
	return dst
}

func begin(k BlockKind, id, name string) Event {
	return Event{Kind: BlockStart, Block: Block{Kind: k, ID: id, Name: name}}
}

func more(s string) Event { return Event{Kind: Delta, Text: s} }

func ended(s Stop) Event { return Event{Kind: Finish, Stop: s} }

var stopped = Event{Kind: BlockStop}

func TestTranslateSignals(t *testing.T) {
	use := &Usage{Output: 3}
	relay := Translate(&script{steps: [][]Event{
		{{Kind: Start, Model: "m"}},
		{begin(Reasoning, "", ""), more(" ")},
		{more("hm")},
		{stopped, begin(Text, "", ""), more("\n")},
		{more("a")},
		{stopped, begin(ToolUse, "x", "ls")},
		{more("{}"), {Kind: UsageReport, Usage: use}},
		{stopped, ended(StopTools)},
		{more("late")},
	}}, plain{}, Back{})
	want := []Signal{
		{Model: "m"},
		{Model: "m", Size: 1},
		{Model: "m", Size: 2, Content: true},
		{Model: "m", Size: 1},
		{Model: "m", Size: 1, Content: true, Text: true},
		{Model: "m", Content: true, Text: true},
		{Model: "m", Size: 2, Content: true, Text: true, Usage: use},
		{Model: "m", Done: true, Last: true, Stop: StopTools},
		{Model: "m", Done: true},
		{Model: "m", Done: true},
	}
	var out []byte
	var got []Signal
	for range want[1:] {
		var s Signal
		out, s = relay.Frame(out, sse.Event{})
		got = append(got, s)
	}
	out, s := relay.Close(out)
	if diff := cmp.Diff(want, append(got, s)); diff != "" {
		t.Error(diff)
	}
	if want := "start 5: hm} 0:\na} 3:xls{{}} finish tools"; strings.ReplaceAll(string(out), "5:{", "5:") != strings.ReplaceAll(want, "0:", "0:{") {
		t.Errorf("%s", out)
	}
}

func TestNoEndAfterAnError(t *testing.T) {
	broken := &AnswerError{Kind: Malformed, Msg: "x"}
	tests := []struct {
		name   string
		script *script
		want   string
		kind   AnswerKind
	}{
		{"an error beside the end", &script{steps: [][]Event{{begin(Text, "", ""), more("a"), ended(StopEnd)}}, errs: map[int]error{0: broken}}, "0:{a", Malformed},
		{"an error, then an end", &script{steps: [][]Event{{begin(Text, "", ""), more("a")}, {ended(StopEnd)}}, errs: map[int]error{0: broken}}, "0:{a", Malformed},
		{"an error that is not ours", &script{steps: [][]Event{{}}, errs: map[int]error{0: errors.New("x")}}, "", Malformed},
		{"a decoder that forgets to say that it was cut", &script{steps: [][]Event{{begin(Text, "", ""), more("a")}, nil}}, "0:{a", Cut},
		{"a cut", &script{steps: [][]Event{{begin(ToolUse, "x", "ls"), more("{}")}, nil}, errs: map[int]error{2: &AnswerError{Kind: Cut}}}, "3:xls{{}", Cut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			relay := Translate(tt.script, plain{}, Back{})
			var out []byte
			var found []error
			for range tt.script.steps {
				var s Signal
				out, s = relay.Frame(out, sse.Event{})
				if s.Done {
					t.Error("done")
				}
				if s.Err != nil {
					found = append(found, s.Err)
				}
			}
			out, s := relay.Close(out)
			if s.Err != nil {
				found = append(found, s.Err)
			}
			if len(found) != 1 {
				t.Fatalf("errors %v", found)
			}
			if e, ok := errors.AsType[*AnswerError](found[0]); !ok || e.Kind != tt.kind {
				t.Errorf("error %#v", found[0])
			}
			if s.Done || string(out) != tt.want {
				t.Errorf("done %v, %s", s.Done, out)
			}
		})
	}
}

func TestBack(t *testing.T) {
	call := func(id, name, args string) []Event { return []Event{begin(ToolUse, id, name), more(args), stopped} }
	says := func(s string) []Event { return []Event{begin(Text, "", ""), more(s), stopped} }
	join := func(parts ...[]Event) (out []Event) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	tests := []struct {
		name string
		back Back
		in   []Event
		want string
	}{
		{"nothing", Back{}, join(says("a"), call("x", "ls", "{}"), []Event{ended(StopTools)}), "0:{a} 3:xls{{}} finish tools"},
		{"ids", Back{IDs: map[string]string{"x": "y"}}, join(call("x", "ls", "{}"), call("z", "ls", "{}"), []Event{ended(StopTools)}), "3:yls{{}} 3:zls{{}} finish tools"},
		{"one call", Back{OneCall: true}, join(call("x", "ls", "{}"), call("z", "ls", "{}"), says("a"), []Event{ended(StopTools)}), "3:xls{{}} 0:{a} finish tools"},
		{"the schema's tool is the text", Back{SchemaTool: "json"}, join(says("Sure!"), call("x", "json", `{"n":1}`), says("Done."), call("y", "json", `{}`), []Event{ended(StopTools)}), `0:{{"n":1}} finish end`},
		{"a model that answers in text", Back{SchemaTool: "json"}, join(says(`{"n":1}`), []Event{ended(StopEnd)}), `0:{{"n":1}} finish end`},
		{"a model that works with its tools first", Back{SchemaTool: "json"}, join(says("I look."), call("x", "ls", "{}"), []Event{ended(StopTools)}), `0:{I look.} 3:xls{{}} finish tools`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out []byte
			b := backward{Back: tt.back}
			var whole Assembler
			whole.Add(Event{Kind: Start})
			for _, ev := range tt.in {
				whole.Add(ev)
				for _, ev := range b.event(ev) {
					out = plain{}.Encode(out, ev)
				}
			}
			if string(out) != tt.want {
				t.Errorf("streamed %s\nwant     %s", out, tt.want)
			}
			// A whole answer comes back the same way.
			r := whole.Response()
			tt.back.Response(r)
			out = out[:0]
			for _, ev := range Play(nil, r)[1:] {
				out = plain{}.Encode(out, ev)
			}
			if string(out) != tt.want {
				t.Errorf("whole %s\nwant  %s", out, tt.want)
			}
		})
	}
}

func TestBackEstimates(t *testing.T) {
	r := &Response{Blocks: []Block{{Text: "12345678"}}}
	Back{InputTokens: 7}.Response(r)
	if want := (Usage{Input: 7, Output: 2, Estimated: true}); r.Usage != want {
		t.Errorf("%+v", r.Usage)
	}
	r.Usage = Usage{Output: 1}
	Back{InputTokens: 7}.Response(r)
	if want := (Usage{Output: 1}); r.Usage != want {
		t.Errorf("what was reported became %+v", r.Usage)
	}
}

func TestAssembleRefusesWhatCannotBeWritten(t *testing.T) {
	relay := Assemble(&script{steps: [][]Event{{ended(StopEnd)}}}, Back{}, func(*Response) ([]byte, error) { return nil, errors.New("no") })
	out, s := relay.Frame(nil, sse.Event{})
	if len(out) > 0 || s.Done || s.Err == nil {
		t.Errorf("%s %+v", out, s)
	}
	if out, s = relay.Close(nil); len(out) > 0 || s.Done {
		t.Errorf("%s %+v", out, s)
	}
}

func TestArguments(t *testing.T) {
	for in, want := range map[string]string{
		"": "{}", " \n": "{}", "null": "{}", ` {"a": 1.0} `: `{"a": 1.0}`,
		`{"a":`: `{"_raw":"{\"a\":"}`, `[1]`: `{"_raw":"[1]"}`, `hi`: `{"_raw":"hi"}`, `{} {}`: `{"_raw":"{} {}"}`,
	} {
		got := Arguments(in)
		if string(got) != want || !json.Valid(got) {
			t.Errorf("%q became %s, want %s", in, got, want)
		}
	}
}
