package exam

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/route"
)

// reach asks for an answer of 16 tokens. It tells three things: whether the
// provider can be reached and speaks the wire, whether it takes the
// credential, and whether it has the model.
func reach(c *chart, got []Answer) (*Ask, []Finding) {
	if len(got) == 0 {
		if f := c.Failure; f != nil && (f.Class == drey.Transport || f.Fault == route.ConnectTimeout) {
			return nil, c.outOfReach(f)
		}
		return c.ask("Say hello.", 16), nil
	}
	first := got[0]
	if first.Failure == nil {
		return nil, c.reached(first)
	}
	if !c.misplaced(first.Failure) {
		return nil, c.turnedAway(first.Failure)
	}
	// Something answers there, and not the wire: it may be at another path, or
	// the wire another one.
	places := c.otherPlaces()
	tried := len(got) - 1
	if tried > 0 && speaks(got[tried]) {
		return nil, c.placed(first.Failure, places[tried-1])
	}
	if tried < len(places) {
		next := c.ask("Say hello.", 16)
		next.Base, next.Wire = places[tried].base, places[tried].wire
		return next, nil
	}
	c.over = "nothing there speaks the wire"
	return nil, c.three(Finding{Verdict: Unreachable,
		Text: fmt.Sprintf("something answers at %s, and it does not speak the %s wire (%s): check url and wire", c.Config.URL, c.Config.Wire, first.Failure.why())})
}

// speaks reports whether an answer, be it a refusal, is that of a server which
// speaks the wire that it was asked in.
func speaks(a Answer) bool {
	return a.Failure == nil || a.Failure.Class == drey.Auth && (a.Failure.Sub != route.ModelMissing || saysModel(a.Failure.Text))
}

// placed are the findings where the wire is spoken at another place.
func (c *chart) placed(f *Failure, p place) []Finding {
	c.over = "it is not asked where it is"
	out := Finding{Verdict: NeedsTuning}
	if p.wire == c.Config.DreyWire() {
		out.Patch = Patch{{[]string{"url"}, p.base}}
		out.Text = fmt.Sprintf("nothing at %s speaks this wire (%s); %s does", c.Config.URL, f.why(), p.base)
	} else {
		out.Patch = Patch{{[]string{"wire"}, wireName(p.wire)}}
		out.Text = fmt.Sprintf("%s does not speak the wire %s (%s), and it does speak %s", c.Config.URL, c.Config.Wire, f.why(), wireName(p.wire))
	}
	return c.three(out)
}

// three are the findings of reach where the first of them decides.
func (c *chart) three(f Finding) []Finding {
	f.Probe = Reachability
	return []Finding{f, skipped(Auth, c.over), skipped(Model, c.over)}
}

// misplaced reports whether the failure is that of a wrong path or wire: a 404
// or a page, which is not about a model and comes from a server that has no
// list of models there, or has the model on it.
func (c *chart) misplaced(f *Failure) bool {
	if len(c.Models) > 0 && !c.Listed || saysModel(f.Text) {
		return false
	}
	return f.Status == http.StatusNotFound || f.Status == http.StatusMethodNotAllowed || f.Fault == route.MalformedAnswer
}

func (c *chart) outOfReach(f *Failure) []Finding {
	c.over = "the provider cannot be reached"
	if c.Config.Process != nil {
		c.over = "its process is not running; drey starts it when it is needed: send it a request through drey, and ask again"
		return c.three(Finding{Verdict: Skip, Text: c.over})
	}
	out := Finding{Verdict: Unreachable, Text: fmt.Sprintf("%s: %s", c.Config.URL, f.why())}
	switch {
	case f.Fault == route.Refused && c.local():
		out.Text += "; start the server, or correct the address"
	case f.Fault == route.NameLookup:
		out.Text += "; correct the host, or the network's name service"
	case strings.Contains(f.Text, "HTTP response to HTTPS client"):
		out.Text += "; it speaks plain HTTP"
		out.Patch = Patch{{[]string{"url"}, "http" + strings.TrimPrefix(c.Config.URL, "https")}}
	case f.Fault == route.Handshake:
		out.Text += "; if the certificate is one of your own, name its authority in tls.ca_file"
	}
	return c.three(out)
}

// reached are the findings of an answer.
func (c *chart) reached(a Answer) []Finding {
	auth := "it needs no credential"
	if !c.Config.Key.Secret.IsZero() {
		auth = "it takes the credential " + c.Config.Key.Secret.String()
	} else if c.secretNames() != "" {
		auth = "it takes the credential of the headers"
	}
	text := c.model + " answers"
	switch {
	case c.Config.Model == "" && len(c.Models) > 0:
		text += "; the configuration names no model, so this one of the server's list was asked"
	case c.Config.Model != "" && len(c.Models) > 0 && !c.Listed:
		text += ", though the server's list does not name it"
	}
	return []Finding{
		{Probe: Reachability, Verdict: OK, Text: fmt.Sprintf("%s answers in %s", c.Config.URL, ms(a.First))},
		{Probe: Auth, Verdict: OK, Text: auth},
		{Probe: Model, Verdict: OK, Text: text},
	}
}

// turnedAway are the findings of a server that speaks the wire and does not
// answer.
func (c *chart) turnedAway(f *Failure) []Finding {
	reached := Finding{Probe: Reachability, Verdict: OK, Text: c.Config.URL + " answers"}
	auth := Finding{Probe: Auth, Verdict: OK, Text: "the credential is not what it minds"}
	missing := f.Class == drey.Auth && f.Sub == route.ModelMissing || f.Class == drey.Caller && saysModel(f.Text)
	switch {
	case missing:
		c.over = "the model is not there"
		return []Finding{reached, auth, c.wrongModel(f)}
	case f.Class == drey.Auth:
		c.over = "the provider refuses the credential"
		return []Finding{reached, c.refusedKey(f), skipped(Model, c.over)}
	case f.Class == drey.RateLimit || f.Class == drey.Loading || f.Class == drey.Cancel:
		c.over = "it asks for a pause (" + f.why() + "): ask again later"
		return []Finding{reached, skipped(Auth, c.over), skipped(Model, c.over)}
	case f.Class == drey.Caller:
		c.over = "the provider refuses a plain question"
		out := c.refusedField(Model, f)
		return []Finding{reached, auth, out}
	case f.Class == drey.Transport:
		return c.outOfReach(f)
	}
	c.over = "the provider gives no answer"
	return c.three(Finding{Verdict: Unreachable, Text: "no answer that could be used: " + f.why()})
}

// refusedKey is the finding of a credential that the provider does not take.
func (c *chart) refusedKey(f *Failure) Finding {
	out := Finding{Probe: Auth, Verdict: AuthFail}
	switch has := !c.Config.Key.Secret.IsZero(); {
	case f.Sub == route.Quota:
		out.Text = "the account has no credit or has reached its limit: " + f.why()
	case !has:
		out.Text = "it wants a credential, and the configuration names none (" + f.why() + "): put one into " + c.keyName()[len("env:"):]
		out.Patch = c.keyPatch()
	default:
		out.Text = fmt.Sprintf("it refuses the credential %s (%s): put a good one there, or into %s", c.Config.Key.Secret, f.why(), c.keyName()[len("env:"):])
		out.Patch = c.keyPatch()
	}
	return out
}

// wrongModel is the finding of a model that the server does not have.
func (c *chart) wrongModel(f *Failure) Finding {
	out := Finding{Probe: Model, Verdict: NeedsTuning, Text: fmt.Sprintf("the server has no model %s (%s)", c.model, f.why())}
	near := config.Nearest(c.model, c.Models, 3)
	if len(near) == 0 {
		out.Text += ", and does not say which it has: write one in model"
		return out
	}
	out.Text += "; of those it has, the nearest are " + strings.Join(near, ", ")
	if len(near) == 1 {
		out.Text = strings.Replace(out.Text, "the nearest are", "the nearest is", 1)
	}
	out.Patch = Patch{{[]string{"model"}, near[0]}}
	return out
}

// refusedField is the finding where a server does not take a field of the
// request that drey writes by itself.
func (c *chart) refusedField(name string, f *Failure) Finding {
	out := Finding{Probe: name, Verdict: NeedsTuning}
	low := strings.ToLower(f.Text)
	other := map[string]string{"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[c.maxTokensKey()]
	switch {
	case strings.Contains(low, "max_completion_tokens") || strings.Contains(low, "max_tokens"):
		out.Text = "it does not take " + c.maxTokensKey() + ": " + f.why()
		out.Patch = Patch{{[]string{"max_tokens_field"}, other}}
	default:
		for _, extra := range c.Config.ExtraBody {
			if strings.Contains(low, strings.ToLower(extra.Name)) {
				out.Text = "it does not take " + extra.Name + ", which extra_body adds: " + f.why() + "; take it out of extra_body"
				return out
			}
		}
		out.Text = "it refuses a plain question: " + f.why()
	}
	return out
}

var modelWords = regexp.MustCompile(`(?i)\bmodel\b.*\b(not found|not exist|unknown|invalid|not available|no such)\b|\b(not found|no such|unknown|invalid)\b.*\bmodel\b`)

// saysModel reports whether a message is about a model that is not there.
func saysModel(text string) bool {
	return modelWords.MatchString(text) || strings.HasPrefix(text, "model: ")
}
