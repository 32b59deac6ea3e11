package affinity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

var wires = []drey.Wire{drey.WireAnthropic, drey.WireChat, drey.WireResponses}

// The same conversation, told in two ways, has the same prefixes; another one
// does not.
func TestOf(t *testing.T) {
	line := `x-anthropic-billing-header: cc_version=1; cch=abc`
	for _, tt := range []struct {
		name string
		wire drey.Wire
		a, b string
		want bool // they are the same
	}{
		{"a mark that moved", drey.WireAnthropic,
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}]}`,
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`, true},
		{"a text and its block", drey.WireAnthropic,
			`{"messages":[{"role":"user","content":"a"}]}`,
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}]}`, true},
		{"a mark on a tool, and on a result", drey.WireAnthropic,
			`{"tools":[{"name":"x","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"a"}],"cache_control":{"type":"ephemeral"}}]}]}`,
			`{"tools":[{"name":"x"}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"a"}]}]}`, true},
		{"the order of the fields", drey.WireAnthropic,
			`{"system":"s","tools":[{"name":"x"}],"messages":[{"role":"user","content":"a"}]}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":[{"name":"x"}],"model":"m","system":"s","max_tokens":5}`, true},
		{"space", drey.WireChat,
			`{"messages":[{"role":"user","content":"a"}]}`, "{ \"messages\" : [ {\"role\": \"user\",\n\"content\": \"a\"} ] }", true},
		{"a changing line", drey.WireAnthropic,
			`{"system":"` + line + `\nyou are","messages":[{"role":"user","content":"a"}]}`,
			`{"system":"` + line + `d\nyou are","messages":[{"role":"user","content":"a"}]}`, true},
		{"a changing block", drey.WireAnthropic,
			`{"system":[{"type":"text","text":"` + line + `"},{"type":"text","text":"you"}],"messages":[{"role":"user","content":"a"}]}`,
			`{"system":[{"type":"text","text":"` + line + `d"},{"type":"text","text":"you"}],"messages":[{"role":"user","content":"a"}]}`, true},
		{"a changing line of chat", drey.WireChat,
			`{"messages":[{"role":"system","content":"` + line + `\nyou"},{"role":"user","content":"a"}]}`,
			`{"messages":[{"role":"system","content":"` + line + `d\nyou"},{"role":"user","content":"a"}]}`, true},
		{"a changing line of responses", drey.WireResponses,
			`{"instructions":"` + line + `\nyou","input":"a"}`, `{"instructions":"` + line + `d\nyou","input":"a"}`, true},
		{"a second line is the system's own", drey.WireAnthropic,
			`{"system":"you\n` + line + `","messages":[{"role":"user","content":"a"}]}`,
			`{"system":"you\n` + line + `d","messages":[{"role":"user","content":"a"}]}`, false},
		{"another system", drey.WireAnthropic,
			`{"system":"s","messages":[{"role":"user","content":"a"}]}`, `{"system":"t","messages":[{"role":"user","content":"a"}]}`, false},
		{"another tool", drey.WireChat,
			`{"tools":[{"function":{"name":"x"}}],"messages":[{"role":"user","content":"a"}]}`,
			`{"tools":[{"function":{"name":"y"}}],"messages":[{"role":"user","content":"a"}]}`, false},
		{"another role", drey.WireChat,
			`{"messages":[{"role":"user","content":"a"}]}`, `{"messages":[{"role":"assistant","content":"a"}]}`, false},
		{"one text and two", drey.WireAnthropic,
			`{"messages":[{"role":"user","content":[{"type":"text","text":"ab"}]}]}`,
			`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`, false},
		{"such a line of a user", drey.WireChat,
			`{"messages":[{"role":"user","content":"` + line + `\na"}]}`, `{"messages":[{"role":"user","content":"` + line + `d\na"}]}`, false},
		{"another picture", drey.WireAnthropic,
			`{"messages":[{"role":"user","content":[{"type":"image","source":{"data":"AA"}}]}]}`,
			`{"messages":[{"role":"user","content":[{"type":"image","source":{"data":"AB"}}]}]}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := Of(tt.wire, []byte(tt.a), ""), Of(tt.wire, []byte(tt.b), "")
			if len(a.Prefixes) != 1 || len(b.Prefixes) != 1 {
				t.Fatalf("%d and %d borders, want one each", len(a.Prefixes), len(b.Prefixes))
			}
			if same := a.Prefixes[0] == b.Prefixes[0]; same != tt.want {
				t.Errorf("the same: %v", same)
			}
		})
	}
}

// What stands before the first message is no border.
func TestNoBorderBeforeTheFirstMessage(t *testing.T) {
	for w, body := range map[drey.Wire]string{
		drey.WireAnthropic: `{"system":"s","tools":[],"messages":[]}`,
		drey.WireChat:      `{"messages":[{"role":"system","content":"s"},{"role":"developer","content":"t"}]}`,
		drey.WireResponses: `{"instructions":"s","input":[{"role":"developer","content":"t"}]}`,
	} {
		if c := Of(w, []byte(body), ""); !c.Empty() {
			t.Errorf("%v: %v", w, c)
		}
	}
	for _, body := range []string{``, `{`, `[]`, `{"messages":3}`, `{"messages":[1,"a",null]}`, `{"input":{}}`} {
		for _, w := range wires {
			Of(w, []byte(body), "")
		}
	}
}

func TestSession(t *testing.T) {
	for _, tt := range []struct {
		headers string
		inBody  string
		want    string
	}{
		{"", "", ""},
		{"X-Claude-Code-Session-Id=a Session-Id=b", "c", "a"},
		{"Session-Id=b", "c", "c"},
		{"Session-Id=b X-Session-Id=d", "", "b"},
		{"X-Session-Affinity=e X-Session-Id=d", "", "e"},
		{"X-Session-Id=d", "", "d"},
	} {
		h := http.Header{}
		for _, f := range strings.Fields(tt.headers) {
			k, v, _ := strings.Cut(f, "=")
			h.Set(k, v)
		}
		if got := Session(h.Get, tt.inBody); got != tt.want {
			t.Errorf("%s, body %q: %q, want %q", tt.headers, tt.inBody, got, tt.want)
		}
	}
}

// body writes a conversation of n turns as an agent of the wire does, with its
// mark on the last one.
func body(w drey.Wire, system string, turns []string) []byte {
	var messages []any
	for i, text := range turns {
		role := []string{"user", "assistant"}[i%2]
		m := map[string]any{"role": role, "content": text}
		if w == drey.WireAnthropic && i == len(turns)-1 {
			m["content"] = []any{map[string]any{"type": "text", "text": text, "cache_control": map[string]any{"type": "ephemeral"}}}
		}
		messages = append(messages, m)
	}
	b := map[string]any{"model": "m", "tools": []any{map[string]any{"name": "ls"}}}
	switch w {
	case drey.WireAnthropic:
		b["system"], b["messages"] = system, messages
	case drey.WireChat:
		b["messages"] = append([]any{map[string]any{"role": "system", "content": system}}, messages...)
	default:
		b["instructions"], b["input"] = system, messages
	}
	out, _ := json.Marshal(b)
	return out
}

// TestPrefixesGrow: of two conversations exactly the borders of their common
// turns are the same, on each wire, and twice the same is the same.
func TestPrefixesGrow(t *testing.T) {
	word := rapid.StringOfN(rapid.RuneFrom([]rune(`ab"\é<`)), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		system := word.Draw(t, "system")
		common := rapid.SliceOfN(word, 0, 6).Draw(t, "common")
		a := append(slices.Clone(common), rapid.SliceOfN(word, 0, 4).Draw(t, "a")...)
		b := append(slices.Clone(common), rapid.SliceOfN(word, 0, 4).Draw(t, "b")...)
		same := 0
		for same < min(len(a), len(b)) && a[same] == b[same] {
			same++
		}
		for _, w := range wires {
			x, y := Of(w, body(w, system, a), "k"), Of(w, body(w, system, b), "k")
			if len(x.Prefixes) != len(a) || len(y.Prefixes) != len(b) {
				t.Fatalf("%v: %d and %d borders of %d and %d turns", w, len(x.Prefixes), len(y.Prefixes), len(a), len(b))
			}
			for i := range min(len(a), len(b)) {
				if (x.Prefixes[i] == y.Prefixes[i]) != (i < same) {
					t.Fatalf("%v: border %d of %q and %q", w, i, a, b)
				}
			}
			if x.Session != y.Session || x.Session == 0 {
				t.Fatalf("%v: the sessions are %x and %x", w, x.Session, y.Session)
			}
		}
	})
}

// A digest of known bytes: two dreys, or one before and after a change of this
// package, agree about it.
func TestDigestIsFixed(t *testing.T) {
	if got := fmt.Sprintf("%x", uint64(seed.bytes([]byte("the quick brown fox")))); got != "587f4a94e0ce4a36" {
		t.Errorf("%s", got)
	}
}

func FuzzOf(f *testing.F) {
	for _, w := range wires {
		f.Add(uint8(w), body(w, "s", []string{"a", "b", "c"}))
	}
	f.Fuzz(func(t *testing.T, w uint8, body []byte) {
		c, d := Of(drey.Wire(w%4), body, ""), Of(drey.Wire(w%4), body, "")
		if !slices.Equal(c.Prefixes, d.Prefixes) {
			t.Error("twice the same is not the same")
		}
	})
}

func BenchmarkOf1MB(b *testing.B) {
	var turns []string
	for i := range 200 {
		turns = append(turns, fmt.Sprintf("%d %s", i, strings.Repeat("lorem ipsum dolor\n", 290)))
	}
	for _, w := range wires {
		body := body(w, strings.Repeat("you are ", 1000), turns)
		b.Run(w.String(), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				Of(w, body, "session")
			}
		})
	}
}
