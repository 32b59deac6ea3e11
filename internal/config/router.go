package config

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/autoroute"
)

// AutoProfile is the default_profile that stands for the auto-router. No
// profile has this name.
const AutoProfile drey.ProfileID = "auto"

// AutoRouter chooses a profile by what a request looks like. It is asked where
// default_profile is auto and nothing stronger names a profile.
type AutoRouter struct {
	Rules   []RouterRule   `yaml:"rules" doc:"tried in order; the first whose condition is true counts"`
	Default drey.ProfileID `yaml:"default,required" doc:"profile where no rule is true"`
}

// RouterRule is one rule of the auto-router.
type RouterRule struct {
	ID      string         `yaml:"id,required" pattern:"^[A-Za-z0-9._-]{1,64}$" doc:"what events call it; never default"`
	When    string         `yaml:"when,required" doc:"condition over model, text, tokens, has_image, has_tools, tools, code_ratio, thinking, stream, turns, wire, key and hour, like: has_image or tokens > 30000"`
	Profile drey.ProfileID `yaml:"profile,required" doc:"the profile then"`
}

// maxRules is how many rules there may be: each may take a millisecond.
const maxRules = 64

// autoRouter holds the auto-router against the profiles, and its conditions
// against what a condition may say.
func (c *checker) autoRouter() {
	r := c.f.AutoRouter
	if r == nil {
		c.needsRouter()
		return
	}
	if c.f.DefaultProfile != AutoProfile {
		c.warn("auto_router", "it is never asked, since default_profile is "+string(c.f.DefaultProfile), "write default_profile: auto, or remove it")
	}
	c.routed("auto_router.default", r.Default)
	if len(r.Rules) > maxRules {
		c.faulty("auto_router.rules", fmt.Sprintf("more than %d rules", maxRules), "put the conditions of rules with the same profile together by or")
	}
	seen := map[string]bool{}
	for i, rule := range r.Rules {
		path := fmt.Sprintf("auto_router.rules[%d]", i)
		switch id := path + ".id"; {
		case !c.sound(id) || rule.ID == "":
		case rule.ID == autoroute.DefaultRule:
			c.faulty(id, "no rule may be called default, which stands for none of them", "choose another name")
		case seen[rule.ID]:
			c.faulty(id, "another rule has this name", "give each rule its own")
		}
		seen[rule.ID] = true
		if when := path + ".when"; c.was(when) && c.sound(when) {
			c.condition(when, rule.When)
		}
		c.routed(path+".profile", rule.Profile)
	}
}

const (
	noRouter     = "auto asks the auto-router, and there is none"
	noRouterHint = "add auto_router with its rules, or name a profile"
)

// needsRouter faults a default_profile that stands for an auto-router which is
// not there.
func (c *checker) needsRouter() {
	if c.f.DefaultProfile != AutoProfile || c.keys["auto_router"] != (position{}) {
		return
	}
	if c.f.origins["default_profile"] == FromEnv {
		c.errs = append(c.errs, &Error{Path: EnvProfile, Msg: noRouter, Hint: noRouterHint, rule: true})
		return
	}
	c.faulty("default_profile", noRouter, noRouterHint)
}

// routed holds a profile that the auto-router may choose against those that
// there are.
func (c *checker) routed(path string, name drey.ProfileID) {
	if !c.was(path) || !c.sound(path) || len(c.f.Profiles) == 0 || c.f.Profile(name) != nil {
		return
	}
	c.faulty(path, "there is no profile "+quoteJSON(string(name)), didYouMean(string(name), c.f.profileNames(), ""))
}

// condition compiles a condition, and places its fault within it.
func (c *checker) condition(path, when string) {
	_, err := autoroute.Compile(when)
	f, ok := errors.AsType[*autoroute.Fault](err)
	if !ok {
		return
	}
	at, exact := c.within(c.find(path), when, f.Offset)
	msg := f.Msg
	if !exact && f.Offset > 0 {
		msg = fmt.Sprintf("at character %d: %s", f.Offset+1, msg)
	}
	c.fail(at.line, at.col, path, &problem{msg, f.Hint, true})
}

// within returns where the character at offset of a text stands whose value
// begins at a place. It is exact where the file has the text on one line as it
// is, in quotes or without; else it is the value's beginning.
func (c *checker) within(at position, text string, offset int) (place position, exact bool) {
	lines := bytes.SplitN(c.source, []byte("\n"), at.line+1)
	if at.line > len(lines) {
		return at, false
	}
	line := []rune(string(bytes.TrimPrefix(lines[at.line-1], []byte("\ufeff"))))
	col := at.col - 1
	if col < len(line) && (line[col] == '"' || line[col] == '\'') {
		col++
	}
	want := []rune(text)
	if offset > len(want) || col+len(want) > len(line) || string(line[col:col+len(want)]) != text || !utf8.ValidString(text) {
		return at, false
	}
	return position{at.line, col + 1 + offset}, true
}
