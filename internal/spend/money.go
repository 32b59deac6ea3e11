package spend

import (
	"math"
	"math/bits"
	"strconv"

	"github.com/dreyhq/drey/internal/wire"
)

// MicroUSD is an amount of money in millionths of a US dollar. Sums of money
// are whole numbers everywhere in the house, so that they add up.
type MicroUSD int64

// most is the largest amount that is kept, over a trillion dollars: sums stop
// there and never turn around.
const most MicroUSD = 1 << 60

// Dollars returns the amount that a number of dollars comes to, rounded to the
// nearest. What is no amount (negative, not a number) is 0.
func Dollars(usd float64) MicroUSD {
	switch {
	case !(usd > 0):
		return 0
	case usd >= float64(most)/1e6:
		return most
	default:
		return MicroUSD(math.Round(usd * 1e6))
	}
}

// USD returns the amount in dollars.
func (m MicroUSD) USD() float64 { return float64(m) / 1e6 }

// String writes the amount as people read it: "$1.5", "$0.000012".
func (m MicroUSD) String() string { return "$" + strconv.FormatFloat(m.USD(), 'f', -1, 64) }

// plus adds two amounts that are not negative.
func (m MicroUSD) plus(n MicroUSD) MicroUSD { return min(m+n, most) }

// amount makes an amount of what a caller or the journal says is one.
func amount(m MicroUSD) MicroUSD { return min(max(m, 0), most) }

// Prices are what a provider charges, each per million tokens. The zero value
// charges nothing.
type Prices struct {
	Input, Output         MicroUSD
	CacheRead, CacheWrite MicroUSD // of input tokens that come from a cache, and that go into one
}

// Cost returns what usage comes to: uncached input, output, tokens read from
// a cache and tokens written to one, each at its price. It is rounded up, once, so
// that a budget errs to the side of its owner by a millionth of a dollar for
// each attempt and never to the other. Negative counts are 0.
func (p Prices) Cost(u wire.Usage) MicroUSD {
	var s sum
	s.add(u.Input, p.Input)
	s.add(u.Output, p.Output)
	s.add(u.CacheRead, p.CacheRead)
	s.add(u.CacheWrite, p.CacheWrite)
	return s.perMillion(true)
}

// Savings returns what the tokens that came from a cache would have cost more
// without it, rounded down. What writing to the cache cost more is not taken
// off: that is part of Cost, and a total of savings never falls.
func (p Prices) Savings(u wire.Usage) MicroUSD {
	var s sum
	s.add(u.CacheRead, p.Input-p.CacheRead)
	return s.perMillion(false)
}

// Reservation returns what an attempt is taken to cost before it leaves: the
// estimate of its prompt as uncached input, and all the output that it may make.
func (p Prices) Reservation(prompt, maxOutput int) MicroUSD {
	return p.Cost(wire.Usage{Input: prompt, Output: maxOutput})
}

// sum adds up tokens times prices in 128 bits: a product of two of the largest
// numbers does not fit in 64.
type sum struct{ hi, lo uint64 }

func (s *sum) add(tokens int, price MicroUSD) {
	if tokens <= 0 || price <= 0 {
		return
	}
	hi, lo := bits.Mul64(uint64(tokens), uint64(min(price, most)))
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry) // four products below 2^123 do not overflow
}

func (s *sum) perMillion(up bool) MicroUSD {
	const million = 1_000_000
	if s.hi >= million {
		return most
	}
	quotient, rest := bits.Div64(s.hi, s.lo, million)
	if quotient >= uint64(most) {
		return most
	}
	if up && rest > 0 {
		quotient++
	}
	return MicroUSD(quotient)
}
