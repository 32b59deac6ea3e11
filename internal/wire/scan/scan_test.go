package scan_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func valid(text string) error {
	s := scan.New([]byte(text))
	s.Skip()
	return s.End()
}

var texts = []string{
	`{}`, `[]`, `""`, `0`, `-0.5e+10`, `true`, `false`, `null`, ` { "a" : [ 1 , { } , "b" ] } `,
	`{"a":1,"a":2}`, `"é\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"`, `"\ud83d"`, "\"\xff\"", `"12345678\n12345678"`,
	``, ` `, `{`, `[`, `"`, `"\`, `"\u12`, `"\x"`, "\"\n\"", `01`, `1.`, `.5`, `-`, `1e`, `+1`, `tru`, `nulll`, `{a:1}`,
	`{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1 "b":2}`, `{} {}`, `[1]]`, `{"a":1]`, "\ufeff{}", "\x00", "[\x01]",
	`"abcdefg"`, `"abcdefgh"`, "\"abcdefgh\x01\"", `"aaaaaaa\`, "\"a!\x1f#\"",
}

func TestValidity(t *testing.T) {
	for _, text := range texts {
		if got, want := valid(text) == nil, json.Valid([]byte(text)); got != want {
			t.Errorf("%q: valid %v, encoding/json says %v", text, got, want)
		}
	}
}

func TestDepth(t *testing.T) {
	for _, tt := range []struct {
		open, end string
		deep      int
	}{{"[", "]", 1}, {`{"a":`, "}", 1}, {`[{"a":`, "}]", 2}} {
		n := scan.MaxDepth / tt.deep
		inner := "1"
		if err := valid(strings.Repeat(tt.open, n) + inner + strings.Repeat(tt.end, n)); err != nil {
			t.Errorf("%s %d deep: %v", tt.open, scan.MaxDepth, err)
		}
		err := valid(strings.Repeat(tt.open, n+1) + inner + strings.Repeat(tt.end, n+1))
		if e, ok := err.(*scan.Error); !ok || !e.Deep {
			t.Errorf("%s deeper than %d: %v", tt.open, scan.MaxDepth, err)
		}
		if err := valid(strings.Repeat(tt.open, 1_000_000)); err == nil {
			t.Error("a million brackets are valid")
		}
	}
}

func TestWalk(t *testing.T) {
	s := scan.New([]byte(` {"a\u0062" : "x\ny", "n": 16.0, "skip": {"deep":[1,2]}, "list":[true,null,"z"], "raw": {"k": 1 } , "last":3} `))
	var got []string
	note := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
	for key := range s.Fields() {
		note("key %s", key)
		switch string(key) {
		case "ab":
			text, ok := s.Text()
			note("text %q %v", text, ok)
		case "n":
			if _, ok := s.Text(); ok {
				t.Error("a number is a text")
			}
			n, ok := s.Int()
			note("int %d %v", n, ok)
		case "list":
			for i := range s.Items() {
				note("item %d %v at %d", i, s.Kind(), s.Offset())
				if b, ok := s.Bool(); ok {
					note("bool %v", b)
				}
			}
		case "raw":
			note("raw %s", s.Raw())
		}
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"key ab", `text "x\ny" true`, "key n", "int 16 true", "key skip", "key list",
		"item 0 a boolean at 65", "bool true", "item 1 null at 70", "item 2 a string at 75",
		"key raw", `raw {"k": 1 }`, "key last",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestBreakLeavesTheWholeObject(t *testing.T) {
	s := scan.New([]byte(`[{"a":1,"b":[1,2]},7]`))
	for i := range s.Items() {
		if i == 0 {
			for range s.Fields() {
				break
			}
			continue
		}
		if n, ok := s.Int(); n != 7 || !ok {
			t.Errorf("after a break: %d, %v", n, ok)
		}
	}
	if err := s.End(); err != nil {
		t.Error(err)
	}
	s = scan.New([]byte(`{"a":1,"b":[1,}`))
	for range s.Fields() {
		break
	}
	if s.End() == nil {
		t.Error("what follows a break is not validated")
	}
}

func TestInt(t *testing.T) {
	for text, want := range map[string]int{"5": 5, "-5": -5, "1e3": 1000, "16.0": 16, "1e300": int(^uint(0) >> 1)} {
		s := scan.New([]byte(text))
		if n, ok := s.Int(); n != want || !ok {
			t.Errorf("%s: %d, %v", text, n, ok)
		}
	}
	s := scan.New([]byte("1.5"))
	if _, ok := s.Int(); ok {
		t.Error("1.5 is a whole number")
	}
}

func TestCount(t *testing.T) {
	for _, tt := range []struct {
		text         string
		ascii, other int
	}{
		{`""`, 0, 0}, {`"hello, world"`, 12, 0}, {`"a\nb\"\u0041"`, 5, 0}, {`"日本語 ok"`, 3, 3}, {`"\u65e5\ud83d\ude00"`, 0, 2}, {`"😀"`, 0, 1},
	} {
		var c scan.Count
		s := scan.New([]byte(tt.text))
		if !s.CountText(&c) || c != (scan.Count{ASCII: tt.ascii, Other: tt.other}) {
			t.Errorf("%s counts %+v", tt.text, c)
		}
		var said scan.Count
		said.Add(string(scan.Unquote([]byte(tt.text))))
		if said != c {
			t.Errorf("%s counts %+v, and what it says %+v", tt.text, c, said)
		}
	}
	for text, want := range map[string]int{`{"a": [1, true , null], "b":"x\ny"}`: len(`{"a":[1,true,null],"b":"x.y"}`), `[ ]`: 2, `"x"`: 3, `-1.5`: 4} {
		var c scan.Count
		s := scan.New([]byte(text))
		if s.CountValue(&c); c.ASCII != want {
			t.Errorf("%s counts %d, want %d", text, c.ASCII, want)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := scan.New(text)
		raw := s.Raw()
		err := s.End()
		if e, ok := err.(*scan.Error); ok && e.Deep {
			t.Skip() // the one difference: encoding/json takes 10,000
		}
		if want := json.Valid(text); (err == nil) != want {
			t.Fatalf("%v, and encoding/json says %v", err, want)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(raw, bytes.Trim(text, " \t\r\n")) {
			t.Fatalf("raw is %q", raw)
		}
		walked := scan.New(text)
		walk(&walked)
		if err := walked.End(); err != nil {
			t.Fatalf("walked: %v", err)
		}
		// Counting a value agrees with counting its compact text, except that
		// an escape counts as what it stands for.
		if !bytes.ContainsRune(text, '\\') && utf8.Valid(text) {
			var b bytes.Buffer
			if json.Compact(&b, text) != nil {
				t.Fatal("cannot compact")
			}
			var got, want scan.Count
			counted := scan.New(text)
			counted.CountValue(&got)
			if want.Add(b.String()); got != want {
				t.Fatalf("counts %+v, want %+v", got, want)
			}
		}
	})
}

// walk takes everything by Fields, Items and Text, comparing each string with
// what encoding/json makes of it.
func walk(s *scan.Scanner) {
	switch s.Kind() {
	case scan.Object:
		for range s.Fields() {
			walk(s)
		}
	case scan.Array:
		for range s.Items() {
			walk(s)
		}
	case scan.String:
		raw := s.Quoted()
		var want string
		if err := json.Unmarshal(raw, &want); err != nil {
			panic(err)
		}
		if got := scan.Unquote(raw); utf8.Valid(raw) && string(got) != want {
			panic(fmt.Sprintf("%s says %q, want %q", raw, got, want))
		}
	default:
		s.Skip()
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\r\t\x01é😀\xff<>&\u2028")
	f.Fuzz(func(t *testing.T, text string) {
		got := scan.AppendString(nil, text)
		var said string
		if err := json.Unmarshal(got, &said); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if want := strings.ToValidUTF8(text, "\ufffd"); utf8.ValidString(text) && said != want {
			t.Fatalf("wrote %q, read %q", text, said)
		}
		if utf8.ValidString(text) && string(scan.Unquote(got)) != text {
			t.Fatalf("wrote %q, unquoted %q", text, scan.Unquote(got))
		}
		if !utf8.Valid(got) {
			t.Fatalf("%q is no UTF-8", got)
		}
	})
}

func TestScannerAllocates(t *testing.T) {
	text := prompt(10_000)
	if n := testing.AllocsPerRun(100, func() { visit(text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func visit(text []byte) (c scan.Count) {
	s := scan.New(text)
	for key := range s.Fields() {
		if string(key) != "messages" {
			continue
		}
		for range s.Items() {
			for key := range s.Fields() {
				if string(key) == "content" {
					s.CountText(&c)
				}
			}
		}
	}
	if s.End() != nil {
		panic(s.Err())
	}
	return c
}

func prompt(size int) []byte {
	b := []byte(`{"model":"m","max_tokens":100,"messages":[`)
	for len(b) < size {
		b = append(b, `{"role":"user","content":"The quick brown fox\njumps over the \"lazy\" dog, and says so in a line of ordinary length.\n\tfunc main() { println(42) }\n"},`...)
	}
	return append(b[:len(b)-1], `]}`...)
}

func BenchmarkVisit(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		text := prompt(size)
		b.Run(fmt.Sprintf("own/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				visit(text)
			}
		})
		// The library gives neither an estimate nor a check of the depth, so it
		// would need a second pass of ours.
		b.Run(fmt.Sprintf("gjson/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if !gjson.ValidBytes(text) {
					b.Fatal("not valid")
				}
				n := 0
				gjson.GetBytes(text, "messages").ForEach(func(_, m gjson.Result) bool {
					n += len(m.Get("content").Str)
					return true
				})
			}
		})
		b.Run(fmt.Sprintf("valid/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				json.Valid(text)
			}
		})
	}
}
