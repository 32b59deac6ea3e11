package repair

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var allFilters = []string{StripThinking, StripStopMarkers, StripToolCallXML, RepairByteFallback}

func TestFilters(t *testing.T) {
	for _, c := range []struct{ name, filter, in, want string }{
		{"nothing to do", StripThinking, "Hello", "Hello"},
		{"a span", StripThinking, "<think>a < b</think>Hello", "Hello"},
		{"two spans", StripThinking, "<think>a</think>b<think>c</think>d", "bd"},
		{"a span in the middle", StripThinking, "a <think>b</think> c", "a  c"},
		{"a span that is not closed", StripThinking, "a<think>b </thin", "a"},
		{"a closing tag at the start", StripThinking, " \n</think>b", "b"},
		{"a closing tag behind text", StripThinking, "a</think>b", "ab"},
		{"a lone less-than", StripThinking, "a < b <thin ", "a < b <thin "},
		{"half a tag at the end", StripThinking, "a <thi", "a <thi"},
		{"only space", StripThinking, " \n ", " \n "},
		{"all stop markers", StripStopMarkers, "a" + strings.Join(stopMarkers, "") + "b", "ab"},
		{"a marker that is none", StripStopMarkers, "<|im_endx|> <|", "<|im_endx|> <|"},
		{"a marker behind a less-than", StripStopMarkers, "<<|end|>x", "<x"},
		{"another channel", StripStopMarkers, "<|channel>final", "<|channel>final"},
		{"a tool call", StripToolCallXML, "a <tool_call>{\"x\":\"<b>\"}</tool_call> b", "a  b"},
		{"an invoke", StripToolCallXML, "a<invoke name=\"x\"><parameter name=\"y\">z</parameter></invoke>b", "ab"},
		{"a function", StripToolCallXML, "<function=x><parameter=y>z</parameter></function>b", "b"},
		{"a closing tag left over", StripToolCallXML, "a</tool_call>b", "ab"},
		{"a tag that is not closed", StripToolCallXML, "use <tool_call> here < x", "use <tool_call> here < x"},
		{"another tag", StripToolCallXML, "<tool_caller> <tool> <invoker>", "<tool_caller> <tool> <invoker>"},
		{"bytes", RepairByteFallback, "a<0xE3><0x81><0x82>b<0x0A>c", "aあb\nc"},
		{"lower case", RepairByteFallback, "<0xc3><0xa9>", "é"},
		{"four bytes", RepairByteFallback, "<0xF0><0x9F><0xA6><0xAB>", "🦫"},
		{"an incomplete run", RepairByteFallback, "<0xE3><0x81>x", "<0xE3><0x81>x"},
		{"an invalid run", RepairByteFallback, "<0xFF><0x41><0xE3>", "<0xFF>A<0xE3>"},
		{"a run that is cut short by another", RepairByteFallback, "<0xE3><0xC3><0xA9>", "<0xE3>é"},
		{"a control character", RepairByteFallback, "<0x00><0x1B>", "<0x00><0x1B>"},
		{"half a token", RepairByteFallback, "<0xE", "<0xE"},
		{"no token", RepairByteFallback, "<0xGG> <0x1> <0x123>", "<0xGG> <0x1> <0x123>"},
		{"the replacement character itself", RepairByteFallback, "<0xEF><0xBF><0xBD>", "\uFFFD"},
	} {
		t.Run(c.filter+"/"+c.name, func(t *testing.T) {
			for cut := range len(c.in) + 1 {
				f, err := NewFilter(c.filter, false)
				if err != nil {
					t.Fatal(err)
				}
				got := f.Feed(c.in[:cut]) + f.Feed(c.in[cut:]) + f.Close()
				if got != c.want {
					t.Fatalf("cut at %d: %q, want %q", cut, got, c.want)
				}
				if f.Changed() != (c.in != c.want) || f.Held() {
					t.Fatalf("cut at %d: changed %v, held %v", cut, f.Changed(), f.Held())
				}
			}
		})
	}
}

func TestThinkingOfAWholeAnswer(t *testing.T) {
	for in, want := range map[string]string{
		"I think so.</think>Yes.":        "Yes.",
		"a</think>b</think>c":            "c",
		"a<think>b</think>c":             "ac",
		"no reasoning at all":            "no reasoning at all",
		"first <think>x</think></think>": "",
	} {
		c, err := NewChain([]string{StripThinking}, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Feed(in[:3]) + c.Feed(in[3:]) + c.Close(); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestFiltersHoldLittle(t *testing.T) {
	for _, c := range []struct{ filter, in, out string }{
		{StripThinking, "Hello", "Hello"},
		{StripThinking, "Hello <", "Hello "},
		{StripStopMarkers, "a <|im", "a "},
		{StripStopMarkers, "a <|x", "a <|x"},
		{StripToolCallXML, "a <b>", "a <b>"},
		{RepairByteFallback, "a <0xE3><0x", "a "},
		{RepairByteFallback, "a <0xE3>b", "a <0xE3>b"},
	} {
		f, _ := NewFilter(c.filter, false)
		if got := f.Feed(c.in); got != c.out {
			t.Errorf("%s let %q through of %q, want %q", c.filter, got, c.in, c.out)
		}
	}
}

func TestAnyChunkingFiltersTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomText(t)
		whole := rapid.Bool().Draw(t, "whole")
		names := rapid.SliceOfNDistinct(rapid.SampledFrom(allFilters), 1, 4, rapid.ID[string]).Draw(t, "filters")
		run := func(sizes []int) (out string, applied []string) {
			c, err := NewChain(names, whole)
			if err != nil {
				t.Fatal(err)
			}
			rest := text
			for _, n := range sizes {
				n = min(n, len(rest))
				out += c.Feed(rest[:n])
				rest = rest[n:]
			}
			out += c.Feed(rest) + c.Close()
			return out, c.Applied()
		}
		want, applied := run(nil)
		got, also := run(rapid.SliceOfN(rapid.IntRange(0, 9), 0, 60).Draw(t, "sizes"))
		if got != want || !slices.Equal(applied, also) {
			t.Fatalf("in pieces %q by %q, whole %q by %q", got, also, want, applied)
		}
		if len(applied) == 0 && want != text {
			t.Fatalf("%q became %q, and no filter did it", text, want)
		}
	})
}

func TestChain(t *testing.T) {
	c, err := NewChain([]string{StripStopMarkers, StripThinking}, false)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Feed("<think>a<|end|></th") + c.Feed("ink>b<|e") + c.Feed("nd|>") + c.Close()
	got += "|" + c.Feed("c<|") + c.Close()
	if got != "b|c<|" {
		t.Errorf("got %q", got)
	}
	if d := cmp.Diff([]string{StripStopMarkers, StripThinking}, c.Applied()); d != "" {
		t.Error(d)
	}
	var none *Chain
	if none.Feed("x") != "x" || none.Close() != "" || none.Held() || none.Applied() != nil {
		t.Error("no filters change nothing")
	}
	if c, err := NewChain(nil, false); c != nil || err != nil {
		t.Errorf("no names make no chain: %v, %v", c, err)
	}
	if _, err := NewChain([]string{"strip_everything"}, false); err == nil || !strings.Contains(err.Error(), "strip_everything") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestFiltersTakeLinearTime(t *testing.T) {
	for name, unit := range map[string]string{
		"less-than": "<", "calls": "<tool_call>", "a call": "<tool_call>" + strings.Repeat("x", 1<<16), "thoughts": "<think></thin", "bytes": "<0xE3>", "space": " ",
	} {
		text := strings.Repeat(unit, 1<<17/len(unit)+1)[:1<<17]
		c, err := NewChain(allFilters, false)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for i := range text {
			c.Feed(text[i : i+1])
		}
		c.Close()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func FuzzFilters(f *testing.F) {
	for _, s := range fragments {
		f.Add(s+s, uint8(1), uint8(15))
	}
	f.Fuzz(func(t *testing.T, text string, cut, which uint8) {
		var names []string
		for i, name := range allFilters {
			if which&(1<<i) != 0 {
				names = append(names, name)
			}
		}
		whole, _ := NewChain(names, false)
		parts, _ := NewChain(names, false)
		want := whole.Feed(text) + whole.Close()
		at := min(int(cut), len(text))
		if got := parts.Feed(text[:at]) + parts.Feed(text[at:]) + parts.Close(); got != want {
			t.Fatalf("cut at %d: %q, whole: %q", at, got, want)
		}
	})
}
