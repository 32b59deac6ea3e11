package wire

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// joined is what the caller has of told and then more, which comes in pieces of
// n bytes.
func joined(told, more string, n int) string {
	j := newJoint(told)
	var b strings.Builder
	b.WriteString(told)
	for len(more) > 0 {
		k := min(n, len(more))
		b.WriteString(j.add(more[:k]))
		more = more[k:]
	}
	b.WriteString(j.flush())
	return b.String()
}

func TestJoint(t *testing.T) {
	long := ""
	for i := range 100 {
		long += fmt.Sprintf("word %d, ", i*i)
	}
	tail := []rune(long)
	for _, tt := range []struct{ name, told, more, want string }{
		{"nothing is repeated", "one two th", "ree four", "one two three four"},
		{"one letter is the same", "says hel", "lo to you", "says hello to you"},
		{"a word is the same", "the cat and the", "the", "the cat and thethe"},
		{"the last words", "says hello to", "hello to you", "says hello to you"},
		{"the last words and a space", "says hello to ", "hello to you", "says hello to you"},
		{"from within a word", "it is unbelievably strange", "believably strange, too", "it is unbelievably strange, too"},
		{"too little from within a word", "unbelievable", "believable things", "unbelievablebelievable things"},
		{"all of a short answer", "So", "Sofia", "SoSofia"},
		{"from the beginning", "Well, I", "Well, I think", "Well, I think"},
		{"nothing but what was there", "says hello to", "hello to", "says hello to"},
		{"the space at the end comes back", "one two ", " three", "one two three"},
		{"and does not", "one two ", "three", "one two three"},
		{"more of it", "a list:\n", "\n\n- one", "a list:\n\n- one"},
		{"a line break of another kind", "a list: ", "\n- one", "a list: \n- one"},
		{"a ruler goes on", "Title\n==========", "==========\n", "Title\n====================\n"},
		{"zeros go on", "0 0 0 0 0 0 0 0 ", "0 0 0 0 1", "0 0 0 0 0 0 0 0 0 0 0 0 1"},
		{"equal lines go on", "a row of cells\na row of cells\n", "a row of cells\nend", "a row of cells\na row of cells\na row of cells\nend"},
		{"letters beyond ASCII", "Ça alors, c’était là", "c’était là-bas", "Ça alors, c’était là-bas"},
		{"200 characters", long, string(tail[len(tail)-200:]) + "z.", long + "z."},
		{"more than 200", long, string(tail[len(tail)-201:]) + "z.", long + string(tail[len(tail)-201:]) + "z."},
		{"nothing was there", "", "anything", "anything"},
		{"nothing comes", "anything ", "", "anything "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 1000} {
				if got := joined(tt.told, tt.more, n); got != tt.want {
					t.Errorf("in pieces of %d: %q, want %q", n, got, tt.want)
				}
			}
		})
	}
}

// Whatever texts meet: the pieces make no difference, and what is cut was there.
func TestJointHoldsNothingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab é\n")), 0, 300, -1)
		told, more := text.Draw(t, "told"), text.Draw(t, "more")
		if rapid.Bool().Draw(t, "repeats") {
			r := []rune(told)
			more = string(r[rapid.IntRange(0, len(r)).Draw(t, "from"):]) + more
		}
		got := joined(told, more, rapid.IntRange(1, 50).Draw(t, "piece"))
		if all := joined(told, more, len(more)+1); got != all {
			t.Fatalf("in pieces %q, at once %q", got, all)
		}
		rest, ok := strings.CutPrefix(got, told)
		if !ok || !strings.HasSuffix(more, rest) || !strings.HasSuffix(told, more[:len(more)-len(rest)]) && strings.Trim(more[:len(more)-len(rest)], whitespace) != "" {
			t.Fatalf("%q and %q make %q", told, more, got)
		}
	})
}
