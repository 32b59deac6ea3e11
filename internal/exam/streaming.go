package exam

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

const (
	// fewCharacters is how short an answer is that was cut by a limit nobody
	// asked for. Source: the gateway contract §18.
	fewCharacters = 40
	// patient is a first_token that lets a whole answer be made before the
	// first of it comes: the longest that drey waits by itself.
	patient = 15 * time.Minute
	// enoughPatience is from when on a configured first_token will do.
	enoughPatience = 10 * time.Minute
)

// streaming has the model count. What comes tells whether frames arrive one by
// one, whether the stream ends properly and tells its usage, and whether the
// server cuts answers short. Of a stream that is broken it finds out what must
// be left out of the request so that an answer comes whole.
func streaming(c *chart, got []Answer) (*Ask, []Finding) {
	whole := c.drops("stream")
	if len(got) == 0 {
		return c.count(), nil
	}
	first := got[0]
	if first.Failure == nil {
		return c.flows(got, whole)
	}
	if class := first.Failure.Class; whole || class == drey.Auth || class == drey.RateLimit || class == drey.Transport || class == drey.Loading || class == drey.Cancel {
		return found(c.trouble(Streaming, first.Failure))
	}
	// Without what? The less is left out, the better.
	var without [][]string
	if c.Config.DreyWire() == drey.WireChat {
		if !c.drops("stream_options") {
			without = append(without, []string{"stream_options"})
		}
		without = append(without, []string{"stream_options", "stream"})
	} else {
		without = append(without, []string{"stream"})
	}
	tried := len(got) - 1
	if tried > 0 && got[tried].Failure == nil {
		left := without[tried-1]
		f := Finding{Probe: Streaming, Verdict: NeedsTuning, Patch: Patch{{[]string{"drop_fields"}, c.dropping(left...)}}}
		c.without = left
		if slices.Contains(left, "stream") {
			f.Text = fmt.Sprintf("its streams are broken (%s), and its whole answers are not: ask for those, and drey streams them to the caller", first.Failure.why())
			f.Patch = append(f.Patch, c.patience()...)
		} else {
			f.Text = fmt.Sprintf("its streams are broken (%s) when they are to tell their usage", first.Failure.why())
		}
		return found(f)
	}
	if tried < len(without) {
		next := c.count()
		next.without = without[tried]
		return next, nil
	}
	return found(c.trouble(Streaming, first.Failure))
}

// count is the question. Its answer has about 80 characters.
func (c *chart) count() *Ask {
	return c.ask("Count from 1 to 30, with a space between the numbers. Write nothing else.", 1024).streamed()
}

// flows judges a stream that is complete. Where it tells no usage because
// nobody asked it to, it is asked to.
func (c *chart) flows(got []Answer, whole bool) (*Ask, []Finding) {
	if said, short := cutShort(got[0]); short {
		return c.shortened(got, said)
	}
	untold := got[0].Response.Usage == (wire.Usage{}) && c.drops("stream_options") && !whole
	switch {
	case untold && len(got) == 1:
		next := c.count()
		next.with = "stream_options"
		return next, nil
	case untold && got[1].Failure == nil && got[1].Response.Usage != (wire.Usage{}):
		return found(Finding{Probe: Streaming, Verdict: NeedsTuning, Patch: Patch{{[]string{"drop_fields"}, c.keeping("stream_options")}},
			Text: "its streams tell no usage, since drop_fields takes away stream_options, by which it is asked for"})
	}
	return found(c.flow(got[0], whole))
}

// flow judges an answer that is complete.
func (c *chart) flow(a Answer, whole bool) Finding {
	f := Finding{Probe: Streaming, Verdict: OK}
	switch {
	case whole:
		return Finding{Probe: Streaming, Verdict: Unsupported, Stated: true, Text: "its answers come whole and drey streams them, as the configuration says (drop_fields: stream)"}
	case atOnce(a) && c.patientEnough():
		return Finding{Probe: Streaming, Verdict: Unsupported, Stated: true, Text: "its answers come all at once, and timeouts.first_token leaves them the time"}
	case atOnce(a):
		f.Verdict, f.Patch = NeedsTuning, c.patience()
		f.Text = fmt.Sprintf("the whole answer comes at once, after %s: the server or a proxy before it holds it back, so a long answer would count as silence", ms(a.First))
	case a.Response.Usage == (wire.Usage{}):
		f.Text = frames(a) + "; the end is proper; usage is not told, so drey estimates it"
	default:
		f.Text = frames(a) + "; the end is proper, and usage is told"
	}
	return f
}

// frames tells how an answer came.
func frames(a Answer) string {
	switch {
	case !a.Streamed:
		return fmt.Sprintf("the answer comes whole, after %s, and drey streams it", ms(a.First))
	case a.Frames == 1:
		return fmt.Sprintf("the answer comes in one frame, after %s", ms(a.First))
	default:
		return fmt.Sprintf("%d frames come one by one, the first after %s", a.Frames, ms(a.First))
	}
}

// atOnce reports whether an answer was held back until it was complete: it was
// long in coming, and then all of it was there. A quick answer tells nothing.
func atOnce(a Answer) bool {
	if !a.Streamed {
		return a.First >= time.Second
	}
	return a.First >= 250*time.Millisecond && a.Frames > 1 && a.Spread < a.First/50 ||
		a.First >= time.Second && a.Frames == 1
}

func (c *chart) patientEnough() bool {
	t := c.Config.Timeouts.FirstToken
	return t.Set && t.Value.D() >= enoughPatience
}

// patience is the patch by which a whole answer may be long in coming; nil
// where the configuration leaves the time already.
func (c *chart) patience() Patch {
	if c.patientEnough() {
		return nil
	}
	return Patch{{[]string{"timeouts", "first_token"}, drey.Duration(patient).String()}}
}

// cutShort reports whether an answer was ended by a limit that nobody asked
// for, and after how many characters.
func cutShort(a Answer) (said int, short bool) {
	said = utf8.RuneCountInString(a.text()) + utf8.RuneCountInString(a.thoughts())
	return said, a.Response.Stop == wire.StopLength && said < fewCharacters
}

// shortened finds out what lifts the limit of an answer that was cut short.
func (c *chart) shortened(got []Answer, said int) (*Ask, []Finding) {
	f := Finding{Probe: Streaming, Verdict: NeedsTuning, Text: fmt.Sprintf("answers are cut after %d characters, by a limit that the request did not set", said)}
	key := c.maxTokensKey()
	if c.drops(key) {
		f.Text += ": drop_fields takes away " + key + ", and the server has a limit of its own"
		f.Patch = Patch{{[]string{"drop_fields"}, c.keeping(key)}}
		return found(f)
	}
	if len(got) == 1 && c.local() && c.numPredict() != -1 {
		next := c.count()
		next.options = map[string]int{"num_predict": -1}
		return next, nil
	}
	if len(got) > 1 && got[1].Failure == nil {
		if _, short := cutShort(got[1]); !short {
			f.Text += "; with num_predict -1 they are whole"
			f.Patch = Patch{{[]string{"extra_body", "options", "num_predict"}, -1}}
			return found(f)
		}
	}
	if n, says := got[0].Response.Usage.Output, c.Config.MaxOutputTokens; says > 0 && says <= max(n, 64) {
		f.Verdict, f.Stated = Unsupported, true
		f.Text += ", as the configuration says (max_output_tokens)"
	} else {
		f.Text += "; raise it at the server (PARAMETER num_predict in Ollama's model file), or have drey know it"
		f.Patch = Patch{{[]string{"max_output_tokens"}, max(n, 1)}}
	}
	return found(f)
}

// numPredict is the limit that extra_body sets; 0 = none.
func (c *chart) numPredict() int {
	for _, f := range c.Config.ExtraBody {
		if f.Name == "options" {
			return int(gjson.GetBytes(f.Value, "num_predict").Int())
		}
	}
	return 0
}
