package migrate

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
)

// names gives things of the source names that drey takes, each its own.
type names struct {
	by    map[string]string // name in the source to name in drey
	taken map[string]bool
}

func newNames(reserved ...string) *names {
	n := &names{by: map[string]string{}, taken: map[string]bool{}}
	for _, r := range reserved {
		n.taken[r] = true
	}
	return n
}

var notName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// add returns a new name for a thing. A second thing of the same name gets
// another one, and by keeps the first.
func (n *names) add(source string) string {
	base := strings.Trim(notName.ReplaceAllString(source, "-"), "-")
	if base == "" {
		base = "unnamed"
	}
	base = base[:min(len(base), 60)]
	name := base
	for i := 2; n.taken[name]; i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	n.taken[name] = true
	if _, known := n.by[source]; !known {
		n.by[source] = name
	}
	return name
}

// span writes seconds of the source as a duration within the range that drey
// has, and says whether that is what they were.
func span(seconds float64, low, high time.Duration) (text string, exact bool) {
	d := time.Duration(math.MaxInt64)
	if seconds < 1e9 {
		d = time.Duration(math.Round(seconds*1e3)) * time.Millisecond
	}
	exact = d >= low && d <= high
	return drey.Duration(min(max(d, low), high)).String(), exact
}

// span sets a duration of the configuration from seconds of the source.
func (o *object) span(key string, to *tree, as string, low, high time.Duration) {
	s, ok := o.number(key)
	if !ok {
		return
	}
	text, exact := span(s, low, high)
	if !exact {
		o.lose(key, as+" is from "+drey.Duration(low).String()+" to "+drey.Duration(high).String()+" here; the nearest was taken")
	}
	to.set(as, text).from = o.at(key)
}

// whole sets a whole number of the configuration within its range.
func (o *object) whole(key string, to *tree, as string, low, high int) {
	x, ok := o.number(key)
	if !ok {
		return
	}
	n := int(math.Round(min(max(x, float64(low)), float64(high))))
	if float64(n) != x {
		o.lose(key, as+" is a whole number from "+strconv.Itoa(low)+" to "+strconv.Itoa(high)+" here; the nearest was taken")
	}
	to.set(as, n).from = o.at(key)
}

// real sets a number of the configuration as it is.
func (o *object) real(key string, to *tree, as string) {
	if x, ok := o.number(key); ok {
		to.set(as, x).from = o.at(key)
	}
}

// word sets a word of the configuration by a table of the source's words.
func (o *object) word(key string, to *tree, as string, words map[string]string) {
	s, ok := o.text(key)
	if !ok {
		return
	}
	if w, ok := words[s]; ok {
		to.set(as, w).from = o.at(key)
	} else {
		o.lose(key, "not a word that is known here")
	}
}

// texts sets a text of the configuration as it is.
func (o *object) copy(key string, to *tree, as string) {
	if s, ok := o.text(key); ok {
		to.set(as, s).from = o.at(key)
	}
}

// yes sets a boolean of the configuration as it is.
func (o *object) yes(key string, to *tree, as string) {
	if v, ok := o.flag(key); ok {
		to.set(as, v).from = o.at(key)
	}
}

// endpoint takes the address of a provider. It is "" where drey could not use
// it, and that is then listed.
func (o *object) endpoint(key, wire string) string {
	raw, ok := o.text(key)
	if !ok {
		return ""
	}
	return o.checked(key, wire, raw)
}

func (o *object) checked(key, wire, raw string) string {
	raw = strings.TrimSpace(raw)
	if strings.HasPrefix(raw, "demo:") {
		o.lose(key, "not the address of a server")
		return ""
	}
	url, err := config.NormalizeURL(wire, raw)
	if err != nil {
		o.lose(key, "drey refuses the address: "+err.Error())
		return ""
	}
	return url
}
