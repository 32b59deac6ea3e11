package autoroute

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// largest are the signals on which everything costs most.
func largest() *Signals {
	s := &Signals{
		Model: strings.Repeat("m", maxWord), Key: strings.Repeat("k", maxWord), Wire: "responses",
		Text: strings.Repeat("a", maxText), Tokens: 1 << 40, CodeRatio: 0.5, Hour: 23, Turns: 1 << 30,
	}
	for range maxTools {
		s.Tools = append(s.Tools, strings.Repeat("a", maxName))
	}
	return s
}

// What the language has: each of these is true of one request.
func TestConditionsThatAreTrue(t *testing.T) {
	s := &Signals{
		Model: "claude-sonnet-4", Text: "Please translate this", Tokens: 40000, HasImage: true, HasTools: true,
		Tools: []string{"Bash", "mcp__git"}, CodeRatio: 0.25, Turns: 3, Wire: "anthropic", Key: "team", Hour: 7,
	}
	for _, source := range []string{
		`true`,
		`has_image`,
		`not thinking && !stream`,
		`tokens > 30000 and tokens <= 40000`,
		`tokens / 1000 == 40 and tokens % 7 == 2 and tokens - turns > 1`,
		`model startsWith "claude" and model endsWith "4"`,
		`model in ["gpt-5", "claude-sonnet-4"]`,
		`text matches "(?i)^please (translate|localize)"`,
		`lower(text) contains "please"`,
		`text | lower() | trim() startsWith "please"`,
		`"Bash" in tools and not ("Read" in tools)`,
		`any(tools, # startsWith "mcp__") and count(tools, # contains "git") == 1`,
		`all(tools, len(#) >= 4) and none(tools, # == "") and one(tools, # == "Bash")`,
		`any(["translate", "localize"], text contains #)`,
		`len(tools) == 2 and tools[0] == "Bash" and tools[0:1] == ["Bash"]`,
		`hour < 8 or hour >= 20`,
		`wire == "anthropic" ? has_tools : false`,
		`code_ratio >= 0.25 and min(turns, 5) == 3 and abs(-1) == 1`,
		`key == "team"`,
	} {
		yes, err := must(t, source).Eval(s)
		if err != nil || !yes {
			t.Errorf("%s: %v, %v", source, yes, err)
		}
	}
}

// What is refused when the configuration is loaded, where, and with what mend.
func TestConditionsThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		source string
		offset int
		says   string
	}{
		{``, 0, "an empty condition"},
		{`tokens`, 0, "a condition is true or false, and this is neither; compare it"},
		{`has_image and fooo`, 14, "unknown name fooo; the variables are model, text"},
		{`tokens > "a"`, 7, "mismatched types int and string"},
		{`has_image and (`, 14, "unexpected token EOF"},
		{`é == 1 and has_image`, 0, "unknown name é"},
		{`text matches "("`, 5, "mend the pattern"},
		{`text matches "(?=x)"`, 5, "without lookahead"},
		{`text matches model`, 13, "the pattern of matches must be written out"},
		{`hour in 9..17`, 9, "a range has no place"},
		{`all(1..1000000000, true)`, 5, "a range has no place"},
		{`let a = text; a == ""`, 4, "let has no place"},
		{`text + text == ""`, 5, "texts cannot be put together"},
		{`$env == nil`, 0, "the environment as a whole"},
		{`now() > now()`, 0, "unknown name now"},
		{`len(filter(tools, true)) > 1`, 4, "there is no function filter here"},
		{`len(repeat("a", 1000000)) > 1`, 4, "repeat"},
		{`{"a": 1} == {}`, 0, "has no place in a condition"},
		{`any([text], # == "x")`, 0, "a loop over texts that may be longer than"},
		{`any(tools, any(tools, # == "x"))`, 0, "this loop could take longer than 1 ms"},
		{`any(tools, # matches "[a-z]+_[0-9]+")`, 0, "this loop could take longer than 1 ms"},
		{`has_image or text matches "(a|aa|aaa|aaaa|aaaaa){20}b"`, 18, "this pattern has 303 states"},
		{strings.Repeat("has_image or ", 200) + "true", 0, "more than 256 variables"},
		{strings.Repeat(" ", maxSource) + "true", 0, "a condition of more than 4096 bytes"},
		{"has_image and \xff", 0, "not UTF-8"},
	} {
		_, err := Compile(tt.source)
		f, ok := errors.AsType[*Fault](err)
		if !ok {
			t.Errorf("%.60s: %v; want a fault", tt.source, err)
			continue
		}
		if !strings.Contains(f.Error(), tt.says) || f.Hint == "" {
			t.Errorf("%.60s: %q; want %q", tt.source, f, tt.says)
		}
		if tt.says != "more than 256 variables" && f.Offset != tt.offset {
			t.Errorf("%.60s: at %d (%s); want %d", tt.source, f.Offset, f, tt.offset)
		}
	}
}

// No condition that is let in can hold a request: whatever is put together out
// of the language either is refused, or is evaluated on the largest signals in
// about the time of the budget. The clock of a busy machine is no measure of a
// millisecond, so the best of a few runs counts, against ten times what the
// dearest pattern takes there.
func TestNoConditionHoldsARequest(t *testing.T) {
	signals := largest()
	fastest := func(c *Condition, enough time.Duration) time.Duration {
		best := time.Hour
		for range 10 {
			start := time.Now()
			_, _ = c.Eval(signals)
			if best = min(best, time.Since(start)); best < enough {
				break
			}
		}
		return best
	}
	limit := max(20*time.Millisecond, 10*fastest(must(t, `text matches "(a|aa|aaa){3}(a|aa)b"`), 0))
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		source := drawCondition(t, 4)
		c, err := Compile(source)
		if err != nil {
			return
		}
		accepted++
		if best := fastest(c, limit); best > limit {
			t.Fatalf("%s took %s, and %s is the limit", source, best, limit)
		}
	})
	if accepted == 0 {
		t.Error("not one condition was accepted, so nothing was tried")
	}
}

// drawCondition makes a condition that is mostly well-typed.
func drawCondition(t *rapid.T, depth int) string {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	word := func() string {
		return pick("word", "text", "model", "key", "lower(text)", "upper(trim(text))", `"aaaa"`, "text[1:4000]")
	}
	if depth == 0 {
		switch rapid.IntRange(0, 4).Draw(t, "leaf") {
		case 0:
			return pick("flag", "has_image", "true", "thinking")
		case 1:
			return pick("number", "tokens", "len(text)", "len(tools)") + pick("op", " > ", " <= ", " == ") + "100"
		case 2:
			return fmt.Sprintf("%s matches %q", word(), pick("pattern", "a+b", "(a+)+$", "(?i)translate|x", `(a|aa)+b`, `[a-z]{1,20}b`, "(.*a){12}"))
		case 3:
			return word() + pick("op", " contains ", " == ", " startsWith ", " endsWith ", " < ") + word()
		default:
			return word() + " in tools"
		}
	}
	sub := func() string { return drawCondition(t, depth-1) }
	switch rapid.IntRange(0, 5).Draw(t, "node") {
	case 0:
		return "(" + sub() + pick("op", " and ", " or ") + sub() + ")"
	case 1:
		return "not " + sub()
	case 2:
		return fmt.Sprintf("%s(tools, %s)", pick("loop", "any", "all", "none", "one"), sub())
	case 3:
		return fmt.Sprintf("%s(tools, # contains %s)", pick("loop", "any", "all"), word())
	case 4:
		return fmt.Sprintf("(%s ? %s : %s)", sub(), sub(), sub())
	default:
		return drawCondition(t, 0)
	}
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		`has_image or tokens > 30000`, `any(tools, # startsWith "mcp__")`, `text matches "(?i)a|b"`, `model in ["a", "b"] ? true : false`,
		`text[0:3] == "x" and tools[-1] ?? "" == ""`, `all(tools, {len(#) > 1})`, `(((`, `"\u00`, `#`, `.a`, `a?.b`, `let x = 1; x`, `true;true`,
	} {
		f.Add(s)
	}
	signals := largest()
	f.Fuzz(func(t *testing.T, source string) {
		c, err := Compile(source)
		if err != nil {
			fault, ok := errors.AsType[*Fault](err)
			if !ok || fault.Msg == "" || fault.Hint == "" || fault.Offset < 0 || fault.Offset > len([]rune(source)) {
				t.Fatalf("%q: %#v", source, err)
			}
			return
		}
		_, _ = c.Eval(signals)
		_, _ = c.Eval(&Signals{})
	})
}

func FuzzBody(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	c := must(f, `text contains "x" or code_ratio > 0.5`)
	f.Fuzz(func(t *testing.T, body []byte) {
		for w := range bodies {
			s := New([]Rule{{"a", c, "p"}}, "d").signals(Request{Wire: w, Body: body})
			if len(s.Text) > maxText || s.CodeRatio < 0 || s.CodeRatio > 1 {
				t.Fatalf("%d bytes, ratio %v", len(s.Text), s.CodeRatio)
			}
		}
	})
}

// BenchmarkWorst is where the figures of cost.go come from: the dearest
// conditions that are let in, on the largest signals.
func BenchmarkWorst(b *testing.B) {
	signals := largest()
	for _, source := range []string{
		`text matches "(a|aa|aaa){3}(a|aa)b"`, `any(tools, # contains "ab")`, `lower(text) contains "b"`, `text in tools`, `has_image`,
		`text matches "(?i)translate|localize"`,
	} {
		c := must(b, source)
		b.Run(source, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Eval(signals)
			}
		})
	}
}

// BenchmarkChoose is what a request pays where default_profile is auto.
func BenchmarkChoose(b *testing.B) {
	r := New([]Rule{
		{"pictures", must(b, "has_image"), "p"}, {"long", must(b, "tokens > 30000"), "p"},
		{"code", must(b, "code_ratio > 0.9"), "p"}, {"words", must(b, `text contains "never"`), "p"},
	}, "d")
	req := request(b, drey.WireAnthropic, bodies[drey.WireAnthropic])
	req.Head.Needs.Vision = false
	b.ReportAllocs()
	for b.Loop() {
		r.Choose(req)
	}
}
