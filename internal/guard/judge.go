package guard

import "slices"

// limits are the shares above which a window of answers says that they got
// worse, and for shorter the quotient below which. All but least are percent:
// whole numbers, so that a share of exactly the limit is never above it.
type limits struct {
	least    int // answers without which there is no verdict
	empty    int // severe
	shorter  int // severe: median length of the newer half by that of the older
	callless int // mild, and so the rest
	odd      int
	failed   int
	repeated int
}

// limitsOf holds the numbers of contract §13.
var limitsOf = [...]limits{
	Normal: {least: 6, empty: 30, shorter: 50, callless: 70, odd: 40, failed: 25, repeated: 40},
	Low:    {least: 10, empty: 50, shorter: 30, callless: 80, odd: 60, failed: 40, repeated: 60},
	High:   {least: 4, empty: 20, shorter: 70, callless: 50, odd: 30, failed: 15, repeated: 25},
}

// The signs of drift, as drift-detected names them.
const (
	signEmpty    = "empty"
	signShorter  = "shorter"
	signCallless = "no_calls"
	signOdd      = "odd_stop"
	signFailed   = "errors"
	signRepeated = "repeated"
)

// judge says how much worse the answers of a window got, and by which signs.
// Shares are of those that could show the sign: failures of all attempts, calls
// of the answers to requests with tools, the rest of all answers; and of fewer
// than least of these nothing is said. One severe sign is severe, and so are
// two mild ones.
func judge(window []Sample, s Sensitivity) (Level, []string) {
	if int(s) >= len(limitsOf) {
		s = Normal
	}
	l := limitsOf[s]
	var failed, empty, tools, callless, odd, repeated int
	lengths := make([]int, 0, len(window))
	texts := make(map[uint64]bool, len(window))
	for _, a := range window {
		if a.Failed {
			failed++
			continue
		}
		lengths = append(lengths, a.Length)
		if a.Empty {
			empty++
		}
		if a.Tools {
			tools++
			if !a.Calls {
				callless++
			}
		}
		if a.Odd {
			odd++
		}
		if a.Text != 0 {
			if texts[a.Text] {
				repeated++
			}
			texts[a.Text] = true
		}
	}
	var signs []string
	level := Steady
	sign := func(name string, found bool, as Level) {
		if !found {
			return
		}
		signs = append(signs, name)
		if as == Severe || level != Steady {
			level = Severe
		} else {
			level = as
		}
	}
	over := func(n, of, limit int) bool { return of >= l.least && 100*n > limit*of }
	answers := len(lengths)
	sign(signEmpty, over(empty, answers, l.empty), Severe)
	sign(signShorter, answers >= l.least && shorter(lengths, l.shorter), Severe)
	sign(signCallless, over(callless, tools, l.callless), Mild)
	sign(signOdd, over(odd, answers, l.odd), Mild)
	sign(signFailed, over(failed, len(window), l.failed), Mild)
	sign(signRepeated, over(repeated, answers, l.repeated), Mild)
	return level, signs
}

// shorter compares the medians of the newer and the older half; of an odd
// number the one in the middle is in neither. It sorts within the halves.
func shorter(lengths []int, limit int) bool {
	half := len(lengths) / 2
	older, newer := lengths[:half], lengths[len(lengths)-half:]
	return 100*twiceMedian(newer) < limit*twiceMedian(older)
}

func twiceMedian(v []int) int {
	slices.Sort(v)
	return v[(len(v)-1)/2] + v[len(v)/2]
}
