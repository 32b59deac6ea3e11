package repair

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWhatIsNoCallFlowsAtOnce(t *testing.T) {
	for _, c := range []struct{ name, in, held string }{
		{"plain text", "Let me look at", ""},
		{"a line", "one\ntwo ", ""},
		{"a name that is none of ours", "Bathroom", ""},
		{"the beginning of one that is", "text\nBas", "Bas"},
		{"an object", `{"na`, `{"na`},
		{"an object of somebody else", `{"ts": 1, "na`, ""},
		{"a list of numbers", `[1, `, ""},
		{"an object within a sentence", `the map {"na`, ""},
		{"a tag", "so <tool_", "<tool_"},
		{"another tag", "so <tooth", ""},
		{"a tag around words", "<tool_call>ls", ""},
		{"a fence of a language", "```go\nfunc", ""},
		{"a fence that may be anything", "```\n", "```\n"},
		{"a fence with words", "```\nhello", ""},
		{"thinking", "<think>{\"name\"", ""},
		{"inline code", "`{\"name\"", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewScanner(agentTools())
			out := ""
			for _, p := range s.Feed(nil, c.in) {
				out += p.Text
			}
			if want := strings.TrimSuffix(c.in, c.held); out != want {
				t.Errorf("let through %q, want %q", out, want)
			}
			if s.Held() != len(c.held) {
				t.Errorf("holds %d bytes, want %d", s.Held(), len(c.held))
			}
		})
	}
}

func TestPlainTextIsNotCopied(t *testing.T) {
	s := NewScanner(agentTools())
	s.Feed(nil, "Now ")
	pieces := make([]Piece, 0, 1)
	if n := testing.AllocsPerRun(50, func() { pieces = s.Feed(pieces[:0], " and then some words more") }); n > 0.5 {
		t.Errorf("%v allocations for a piece of plain text", n)
	}
}

func TestBounds(t *testing.T) {
	call := func(n int) string {
		return `{"name": "Bash", "arguments": {"command": "` + strings.Repeat("x", n) + `"}}`
	}
	overhead := len(call(0))
	tools := agentTools()
	for _, c := range []struct {
		name, text string
		calls      int
	}{
		{"a call of nearly all that is held", call(MaxHold-overhead-1) + "\n", 1},
		{"a call that is larger", call(MaxHold-overhead+1) + "\n", 0},
		{"a call after one that is too large", call(2*MaxHold) + "\n\n" + call(3), 1},
		{"a call within the text that is searched", strings.Repeat("word ", 50_000) + "\n" + call(1), 1},
		{"a call beyond it", strings.Repeat("word ", MaxText/5) + "\n" + call(1), 0},
		{"a call across its end", strings.Repeat("word ", MaxText/5-6) + "\n" + call(100), 0},
		{"a tail longer than what is held", call(1) + strings.Repeat(" ", MaxHold) + "is lower case", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			rest, calls := Text(tools, c.text)
			if len(calls) != c.calls {
				t.Fatalf("%d calls, want %d", len(calls), c.calls)
			}
			if c.calls == 0 && rest != c.text {
				t.Error("the text changed")
			}
			for _, size := range []int{7, 1000, 65_537} {
				sizes := make([]int, len(c.text)/size)
				for i := range sizes {
					sizes[i] = size
				}
				if r, cs := scanned(tools, c.text, sizes...); r != rest || !same(cs, calls) {
					t.Errorf("in pieces of %d: %d calls, %d bytes of text; want %d and %d", size, len(cs), len(r), len(calls), len(rest))
				}
			}
		})
	}
}

func TestNeverHoldsMoreThanItMay(t *testing.T) {
	s := NewScanner(agentTools())
	s.Feed(nil, `{"name": "Bash", "arguments": {"command": "`)
	for range 3000 {
		s.Feed(nil, "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")
		if s.Held() > MaxHold {
			t.Fatalf("holds %d bytes", s.Held())
		}
	}
}

// TestHostileTextTakesLinearTime has a generous limit, because the machine may
// be busy and the race detector is slow: what is quadratic takes minutes.
func TestHostileTextTakesLinearTime(t *testing.T) {
	tools := agentTools()
	for name, unit := range hostile() {
		t.Run(name, func(t *testing.T) {
			text := strings.Repeat(unit, MaxText/len(unit)+1)[:MaxText]
			began := time.Now()
			if rest, calls := Text(tools, text); len(calls) == 0 && rest != text {
				t.Error("the text changed")
			}
			s := NewScanner(tools)
			var pieces []Piece
			for i := range MaxText / 4 {
				pieces = s.Feed(pieces[:0], text[i:i+1])
			}
			s.Close(pieces)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func hostile() map[string]string {
	return map[string]string{
		"braces": "{", "doubled braces": "{{ ", "brackets": "[", "lists of objects": "[{", "less-than": "<",
		"tags": "<tool_call>", "nested tags": "<tool_call><function=", "inner tags": "<invoke><function", "objects": `{"name":`,
		"deep": `{"name":"Bash","arguments":{"a":{"a":{"a":`, "strings": `{"name":"`, "backticks": "`", "fences": "```\n",
		"json fences": "```json\n{\"name\":", "lines of a name": "Bash(\n", "names": "Bash", "attributes": `<Bash a="b" `,
		"arguments": "Bash(a=1,", "calls": "{\"name\":\"anything\",\"arguments\":{}}", "calls of a line": "<tool_call>{\"name\":\"Bash\",\"arguments\":{\"command\":\"x\"}}</tool_call> x",
		"thinking": "<think></think", "newlines": "\n", "quotes": "\"{\"", "parameters": "<function=Bash><parameter=a>b</parameter>",
		"a cue and calls": "sample {\"name\":\"Bash\",\"arguments\":{\"command\":\"x\"}}\n", "escapes": `{"\`, "tildes": "~~~\n[{",
	}
}

func TestBlocksOfOneAnswer(t *testing.T) {
	s := NewScanner(agentTools())
	call := `{"name": "Bash", "arguments": {"command": "ls"}}`
	first := s.Close(s.Feed(nil, call[:9]))
	s.NextBlock()
	second := s.Close(s.Feed(nil, call))
	s.NextBlock()
	third := s.Close(s.Feed(nil, call))
	if len(first) != 1 || first[0].Call != nil || len(second) != 1 || second[0].Call == nil || len(third) != 0 {
		t.Errorf("got %v, %v, %v; want text, the call, and nothing the second time", first, second, third)
	}
}

// Where the rest of an answer comes from somebody else, it is read as it would
// have been behind the same text.
func TestTheRestIsReadBehindWhatWentOut(t *testing.T) {
	tools := agentTools()
	rapid.Check(t, func(t *rapid.T) {
		text := randomText(t)
		first := NewScanner(tools)
		out := first.Feed(nil, text[:rapid.IntRange(0, len(text)).Draw(t, "cut")])
		told := ""
		for _, p := range out {
			if p.Call != nil {
				t.Skip("a call went out, and nobody goes on behind that")
			}
			told += p.Text
		}
		s := NewScanner(tools)
		s.Past(told)
		if s.Held() != 0 {
			t.Fatalf("%q is held back of what went out", s.buf)
		}
		want, calls := Text(tools, text)
		got, made := told, []Call(nil)
		for _, p := range s.Close(s.Feed(nil, text[len(told):])) {
			if got += p.Text; p.Call != nil {
				made = append(made, *p.Call)
			}
		}
		if got != want || !same(made, calls) {
			t.Fatalf("behind %q: %q %q\nwhole: %q %q", told, got, shown(made), want, shown(calls))
		}
	})
}

// What went out unmended may end anywhere. What it began is no call.
func TestTheRestOfACallIsNone(t *testing.T) {
	tools := agentTools()
	for _, text := range []string{
		`{"name": "Bash", "arguments": {"command": "ls"}}`,
		`<tool_call>{"name": "Bash", "arguments": {"command": "ls"}}</tool_call>`,
		"```json\n{\"name\": \"Bash\", \"arguments\": {\"command\": \"ls\"}}\n```\n",
		`Bash(command="ls")`, `<Bash command="ls"/>`,
	} {
		for cut := 1; cut <= len(text); cut++ {
			s := NewScanner(tools)
			s.Past(text[:cut])
			out := s.Close(s.Feed(nil, text[cut:]))
			if rest := text[cut:]; s.Held() != 0 || len(out) > 1 || len(out) == 1 && (out[0].Call != nil || out[0].Text != rest) {
				t.Errorf("behind %q: %v, want %q", text[:cut], out, rest)
			}
		}
	}
}

func TestWithoutToolsNothingIsFound(t *testing.T) {
	text := `{"name": "Bash", "arguments": {"command": "ls"}}`
	for _, tools := range []*Tools{nil, NewTools(nil), NewTools([]Tool{{Name: ""}})} {
		if rest, calls := Text(tools, text); rest != text || calls != nil {
			t.Errorf("found %v", calls)
		}
	}
}

// fragments are what random texts are made of: enough of each shape that they
// meet each other.
var fragments = []string{
	"\n", "\n\n", " ", "x", "Now: ", "for example ", "such as:", "`", "```", "```json\n", "\n```", "~~~\n", "```go\n", "<think>", "</think>",
	"<tool_call>", "</tool_call>", "<function=Bash>", "</function>", "<parameter=command>", "</parameter>", "<Bash command=\"ls\"/>", "<Bash>", "</Bash>",
	`{"name": "Bash", "arguments": {"command": "ls"}}`, `{"name": "Read", "arguments": {"file_path": "a"}}`, `{"command": "x"}`, `{"name": `,
	"{", "}", "[", "]", "(", ")", "\"", "'", "\\", ",", ":", ";", "Bash(", "Bash(command=\"ls\")", "print(default_api.", "<", ">", "/", "é", "日本",
	`{"other": 1, `, "ls", "True", "<|im_end|>", "<0xE3>", "<0x81>", "<0x82>", "<thi", "-", "|",
}

func randomText(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(fragments), 0, 30).Draw(t, "text"), "")
}

func TestAnyChunkingGivesTheSame(t *testing.T) {
	tools := agentTools()
	rapid.Check(t, func(t *rapid.T) {
		text := randomText(t)
		rest, calls := Text(tools, text)
		sizes := rapid.SliceOfN(rapid.IntRange(0, 9), 0, 60).Draw(t, "sizes")
		r, cs := scanned(tools, text, sizes...)
		if r != rest || !same(cs, calls) {
			t.Fatalf("whole: %q %q\nin pieces: %q %q", rest, shown(calls), r, shown(cs))
		}
		if len(calls) == 0 && rest != text {
			t.Fatalf("no call, and yet %q became %q", text, rest)
		}
		for _, c := range calls {
			if !json.Valid(c.Arguments) || c.Arguments[0] != '{' {
				t.Fatalf("arguments are no object: %q", c.Arguments)
			}
		}
	})
}

// TestRepairingTheRepairedChangesNothing is about texts in which everything that
// opens also closes. Where something is left open before a call, the call is
// what ended it, and taking it out may open it again.
func TestRepairingTheRepairedChangesNothing(t *testing.T) {
	tools := agentTools()
	sound := []string{
		"\n", "\n\n", " ", "Now: ", "so", "Done. ", "for example ", "such as:\n", "`code`", "```go\nx := y{1}\n```\n", "```json\n{\"a\": [1]}\n```\n",
		"<think>{\"name\"</think>", "<b>bold</b>", `{"other": [1, {"name": "Bash"}]}`, "a < b", "[link](url)", "- ", "1. ", "> ", "; ",
		`{"name": "Bash", "arguments": {"command": "ls"}}`, `{"name": "Read", "arguments": {"file_path": "a"}}`, `{"name": "Nope", "arguments": {}}`,
		`<tool_call>{"name": "Bash", "arguments": {"command": "pwd"}}</tool_call>`, `<Bash command="date"/>`, "Bash(command=\"id\")", "\nBash(command=\"w\")\n",
		"\n```json\n{\"name\": \"Bash\", \"arguments\": {\"command\": \"df\"}}\n```\n", "<tool_call>nothing</tool_call>",
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(sound), 0, 20).Draw(t, "text"), "")
		rest, _ := Text(tools, text)
		if again, more := Text(tools, rest); more != nil || again != rest {
			t.Fatalf("of %q was left %q, and of that %q with %q", text, rest, again, shown(more))
		}
	})
}

// TestBraces is the promise of the contract: 48 KB of "{" in less than 10 ms.
func TestBraces(t *testing.T) {
	tools := agentTools()
	text := strings.Repeat("{", 48<<10)
	best := time.Hour
	for range 5 { // the machine may be busy
		began := time.Now()
		if rest, calls := Text(tools, text); rest != text || calls != nil {
			t.Fatal("braces are no call")
		}
		best = min(best, time.Since(began))
	}
	if best > 10*time.Millisecond {
		t.Errorf("took %v", best)
	}
}

func FuzzScanner(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.text, uint8(3))
	}
	for _, unit := range hostile() {
		f.Add(strings.Repeat(unit, 5), uint8(1))
	}
	tools := agentTools()
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		rest, calls := Text(tools, text)
		n := int(size%16) + 1
		sizes := make([]int, len(text)/n)
		for i := range sizes {
			sizes[i] = n
		}
		r, cs := scanned(tools, text, sizes...)
		if r != rest || !same(cs, calls) {
			t.Fatalf("whole: %q %q\nin pieces of %d: %q %q", rest, shown(calls), n, r, shown(cs))
		}
		if len(calls) == 0 && rest != text {
			t.Fatalf("no call, and yet %q became %q", text, rest)
		}
		for _, c := range calls {
			if d := tools.find(c.Name); d == nil || d.name != c.Name {
				t.Fatalf("call of %q, which is not declared", c.Name)
			}
			if !json.Valid(c.Arguments) || c.Arguments[0] != '{' {
				t.Fatalf("arguments are no object: %q", c.Arguments)
			}
		}
	})
}
