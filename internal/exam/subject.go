package exam

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/route"
)

// Subject is a provider as the configuration has it.
type Subject struct {
	Config *config.Provider // not changed
	// MaxTokensKey is the field that limits an answer on the chat wire; "" =
	// max_tokens.
	MaxTokensKey string
	// Missing says that a secret which the configuration names is not there.
	Missing bool
	// StandIn says that it is the demo that answers because no model was found.
	StandIn bool
	// KeyHint is a reference to a credential that this provider may want, such
	// as env:GROQ_API_KEY for groq.com.
	KeyHint string
	// URLHint is where such a provider usually is; "" = unknown.
	URLHint string
}

// Listing is what the provider's server told of its models.
type Listing struct {
	Models        []string // ids, in the server's order
	Listed        bool     // the configured model is one of them
	ContextTokens int      // the window of the model; 0 = not told
	// Provisional says that ContextTokens is what the model was trained for.
	Provisional bool
	Failure     *Failure // why there is no list; nil = the server was asked and answered
}

func (s *Subject) local() bool { return s.Config.Class == drey.Local }

func (s *Subject) costs() bool { return s.Config.Class == drey.Paid }

// askedModel is the model that is asked for: the configured one, else the first
// of the server's list that is likely to chat.
func (c *chart) askedModel() string {
	if c.Config.Model != "" {
		return c.Config.Model
	}
	for _, m := range c.Models {
		if !strings.Contains(strings.ToLower(m), "embed") {
			return m
		}
	}
	if len(c.Models) > 0 {
		return c.Models[0]
	}
	return "default" // servers of one model take any name
}

// repairs reports whether drey makes calls of this provider's text. The default
// is that of the configuration: on the openai wire it does.
func (s *Subject) repairs() bool {
	if s.Config.Repair != nil {
		return *s.Config.Repair
	}
	return s.Config.DreyWire() == drey.WireChat
}

// drops reports whether the configuration takes a field out of each request.
func (s *Subject) drops(field string) bool { return slices.Contains(s.Config.DropFields, field) }

// dropping is the value of drop_fields with some more.
func (s *Subject) dropping(fields ...string) []string {
	out := slices.Clone(s.Config.DropFields)
	for _, f := range fields {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// keeping is the value of drop_fields without one.
func (s *Subject) keeping(field string) []string {
	return slices.DeleteFunc(slices.Clone(s.Config.DropFields), func(f string) bool { return f == field })
}

// maxTokensKey is the field that limits an answer.
func (s *Subject) maxTokensKey() string {
	if s.MaxTokensKey != "" {
		return s.MaxTokensKey
	}
	return "max_tokens"
}

// keyPatch names a credential where the configuration has none that works.
func (s *Subject) keyPatch() Patch {
	return Patch{{[]string{"key"}, s.keyName()}}
}

// keyName is the reference that a patch proposes: the one that such a provider
// usually has, else one by the provider's own name.
func (s *Subject) keyName() string {
	if s.KeyHint != "" {
		return s.KeyHint
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		default:
			return '_'
		}
	}, string(s.Config.Name))
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return "env:" + name + "_API_KEY"
}

// secretNames are the references of the provider, for a person.
func (s *Subject) secretNames() string {
	var names []string
	if !s.Config.Key.Secret.IsZero() {
		names = append(names, s.Config.Key.Secret.String())
	}
	for _, h := range s.Config.Headers {
		if !h.Value.Secret.IsZero() {
			names = append(names, h.Value.Secret.String())
		}
	}
	return strings.Join(names, " or ")
}

// limit is how long one question may take. A local server may have to load the
// model first, and reads prompts slowly.
func (s *Subject) limit() time.Duration {
	if s.local() {
		return 4 * time.Minute
	}
	return 90 * time.Second
}

// place is where and how a server may be asked.
type place struct {
	base string
	wire drey.Wire
}

// otherPlaces are where the provider may be if it is not where the
// configuration has it: people forget the /v1, write one too many, or name the
// other wire.
func (s *Subject) otherPlaces() []place {
	u, err := url.Parse(s.Config.URL)
	if err != nil || u.Host == "" {
		return nil
	}
	own := place{s.Config.URL, s.Config.DreyWire()}
	var out []place
	add := func(p place) {
		if p.base != "" && p != own && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	add(place{s.URLHint, own.wire})
	for _, path := range []string{strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1") + "/v1", "/v1", "/api/v1"} {
		v := *u
		v.Path, v.RawPath = path, ""
		add(place{v.String(), own.wire})
	}
	if own.wire == drey.WireAnthropic {
		add(place{own.base, drey.WireChat})
	} else {
		add(place{own.base, drey.WireAnthropic})
	}
	return out
}

// wireName is a wire as the configuration spells it.
func wireName(w drey.Wire) string {
	if w == drey.WireAnthropic {
		return config.WireAnthropic
	}
	return config.WireOpenAI
}

// stated is what the configuration says of an ability.
func stated(a config.Auto[bool]) route.Ability {
	switch {
	case !a.Set:
		return route.Unknown
	case a.Value:
		return route.Yes
	default:
		return route.No
	}
}

// ability is the finding of an ability that was tried out. The configuration
// is to say what is true: that it can may be left to auto, that it cannot may
// not, since requests are routed by it.
func ability(name, key string, says config.Auto[bool], can bool, text string) Finding {
	f := Finding{Probe: name, Verdict: OK, Text: text}
	switch said := stated(says); {
	case can && said == route.No:
		f.Verdict = NeedsTuning
		f.Text += ", and the configuration says that it cannot"
		f.Patch = Patch{{[]string{"capabilities", key}, true}}
	case !can && said == route.No:
		f.Verdict, f.Stated = Unsupported, true
		f.Text += ", as the configuration says"
	case !can:
		f.Verdict = Unsupported
		f.Patch = Patch{{[]string{"capabilities", key}, false}}
	}
	return f
}
