package migrate

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
)

// codeRouter reads a providers.yaml of CodeRouter, as its versions up to 2.15
// write it.
func (m *importer) codeRouter(root *object) error {
	if !root.has("providers") || !root.has("profiles") {
		return errors.New("this is no configuration of coderouter: it has providers and profiles")
	}
	c := &codeRouter{
		importer: m, root: root, providers: newNames(), profiles: newNames("auto"), trees: map[string]*tree{}, lowest: map[string]thresholds{},
	}
	root.yes("allow_paid", m.out, "allow_paid")
	m.out.set("default_profile", "default") // its place in the file; settled below
	for _, p := range root.objects("providers") {
		c.provider(p)
	}
	for _, p := range root.objects("profiles") {
		c.profile(p)
	}
	c.thresholds()
	c.modes()
	c.defaultProfile()
	c.probing()
	c.logs()
	root.drop("drey writes times in UTC, and its dashboard shows those of the browser", "display_timezone")
	root.drop("drey has no plugins", "plugins")
	root.drop("drey translates wires and no languages", "translation")
	root.drop("processes are part of a provider here; see process in the manual of the configuration", "launcher")
	if on, ok := root.flag("token_estimation_include_tool_content"); ok {
		if on {
			root.note("token_estimation_include_tool_content", "drey counts them always")
		} else {
			root.lose("token_estimation_include_tool_content", "drey counts them always")
		}
	}
	root.rest()
	return nil
}

type codeRouter struct {
	*importer
	root                *object
	providers, profiles *names
	trees               map[string]*tree      // of the providers, by their name here
	lowest              map[string]thresholds // of the profiles that a provider is in
}

// thresholds are what CodeRouter has in profiles and drey in providers: the
// smallest counts. The zero value is none yet.
type thresholds struct {
	set                               bool
	failures, initial, longest, start float64
	from                              []string // the profiles that say one of them
	differ                            bool
}

func (c *codeRouter) provider(o *object) {
	source, ok := o.text("name")
	if !ok {
		o.m.lose(o.path, "a provider without a name")
		o.taken = all(o)
		return
	}
	kind, ok := o.text("kind")
	wire := map[string]string{"openai_compat": config.WireOpenAI, "anthropic": config.WireAnthropic}[kind]
	if !ok {
		wire = config.WireOpenAI
	}
	if wire == "" {
		o.m.lose(o.path, "a provider is a server that speaks OpenAI's or Anthropic's API here; this one is a program or a plugin")
		o.taken = all(o)
		return
	}
	url := o.endpoint("base_url", wire)
	if url == "" {
		o.m.lose(o.path, "a provider without an address that drey can use")
		o.taken = all(o)
		return
	}
	name := c.providers.add(c.name(source))
	if name != source {
		o.note("name", "it is called "+name+" here")
	}
	t := c.out.sub("providers").sub(name)
	for _, e := range c.out.sub("providers").entries {
		if e.key == name {
			e.from = o.path
		}
	}
	c.trees[name] = t
	t.set("wire", wire)
	e := t.set("url", url)
	e.from, e.needed = o.at("base_url"), true
	o.copy("model", t, "model")
	c.price(o, t, url)
	c.key(o, t)
	c.timeout(o, t)
	if extra := o.object("extra_body"); extra != nil && len(extra.keys) > 0 {
		body := t.sub("extra_body")
		for _, key := range extra.keys {
			extra.taken[key] = true
			one := &object{m: c.importer, keys: []string{key}, values: extra.values}
			if c.holds(one) {
				extra.lose(key, "a secret may stand in it; drey takes secrets in key and headers alone")
				continue
			}
			body.set(key, extra.values[key]).from = extra.at(key)
		}
	}
	o.copy("append_system_prompt", t, "append_system")
	if filters := o.texts("output_filters"); len(filters) > 0 {
		t.set("filters", anys(filters)).from = o.at("output_filters")
	}
	o.whole("max_context_tokens", t, "context_tokens", 0, math.MaxInt32)
	c.abilities(o, t)
	c.cost(o, t)
	c.restart(o, t)
	o.drop("drey estimates tokens by itself", "tokenizer_path")
	o.drop("only a provider of kind agent_cli has a use for it", "agent_cli")
	o.rest()
}

// price tells what a call costs. What CodeRouter does not call paid is free,
// also where it is far away.
func (c *codeRouter) price(o *object, t *tree, url string) {
	paid, ok := o.flag("paid")
	switch local := config.GuessPrice(url) == drey.Local; {
	case paid:
		t.set("class", "paid").from = o.at("paid")
	case local && ok, !local:
		t.set("class", map[bool]string{true: "local", false: "free"}[local]).from = o.at("paid")
	}
}

func (c *codeRouter) key(o *object, t *tree) {
	if name, ok := o.text("api_key_env"); ok && name != "" {
		t.set("key", "env:"+name).from = o.at("api_key_env")
		if !variableRE.MatchString(name) {
			t.remove("key")
			o.lose("api_key_env", "not the name of a variable")
		}
	}
	cred := o.object("credential")
	if cred == nil {
		return
	}
	source, ok := cred.text("source")
	if name, named := cred.text("env"); named && (!ok || source == "env") && variableRE.MatchString(name) {
		t.set("key", "env:"+name).from = cred.at("env")
		cred.rest()
		return
	}
	cred.taken = all(cred)
	c.lose(cred.path, "drey does not borrow the sessions of other programs; put the key into a variable or a file and name it in key")
}

// timeout maps the one limit of CodeRouter, which is that of each read, to the
// two that drey has for it.
func (c *codeRouter) timeout(o *object, t *tree) {
	s, ok := o.number("timeout_s")
	if !ok {
		return
	}
	text, exact := span(s, time.Second, time.Hour)
	if !exact {
		o.lose("timeout_s", "from 1s to 1h here; the nearest was taken")
	}
	limits := t.sub("timeouts")
	limits.set("first_token", text).from = o.at("timeout_s")
	limits.set("stall", text).from = o.at("timeout_s")
}

func (c *codeRouter) abilities(o *object, t *tree) {
	caps := o.object("capabilities")
	if caps == nil {
		return
	}
	to := &tree{}
	caps.yes("tools", to, "tools")
	caps.yes("vision", to, "vision")
	caps.yes("thinking", to, "thinking")
	caps.yes("prompt_cache", to, "cache")
	if len(to.entries) > 0 {
		t.set("capabilities", to)
	}
	if on, ok := caps.flag("reasoning_passthrough"); ok {
		word := "auto"
		if on {
			word = "show"
		}
		t.set("reasoning", word).from = caps.at("reasoning_passthrough")
	}
	for _, key := range []string{"chat", "streaming", "openai_compatible"} {
		if on, ok := caps.flag(key); ok && !on {
			caps.lose(key, "drey takes it for granted")
		} else if ok {
			caps.note(key, "drey takes it for granted")
		}
	}
	for _, key := range []string{"reasoning_control", "mcp"} {
		if s, ok := caps.text(key); ok && s == "none" {
			caps.note(key, "drey knows no other")
		} else if ok {
			caps.lose(key, "drey has nothing like it")
		}
	}
	caps.rest()
}

func (c *codeRouter) cost(o *object, t *tree) {
	cost := o.object("cost")
	if cost == nil {
		return
	}
	to := &tree{}
	in, priced := cost.number("input_tokens_per_million")
	if priced {
		to.set("input", in).from = cost.at("input_tokens_per_million")
	}
	cost.real("output_tokens_per_million", to, "output")
	for _, pair := range [][2]string{{"cache_read_discount", "cache_read"}, {"cache_creation_premium", "cache_write"}} {
		key, as := pair[0], pair[1]
		share, ok := cost.number(key)
		switch {
		case ok && priced:
			to.set(as, round(in*share)).from = cost.at(key)
		case ok:
			cost.lose(key, "drey wants a price in USD here, and without that of the input there is none")
		}
	}
	cost.real("monthly_budget_usd", to, "usd_month")
	cost.rest()
	if len(to.entries) > 0 {
		t.set("cost", to)
	}
}

var envPrefix = regexp.MustCompile(`^\w+=`)

// restart carries over a command as it is. What only a shell could make of it
// is run by one: CodeRouter's first versions did so.
func (c *codeRouter) restart(o *object, t *tree) {
	line, ok := o.text("restart_command")
	if !ok || strings.TrimSpace(line) == "" {
		return
	}
	t.set("restart_command", line).from = o.at("restart_command")
	_, err := (config.Command{Line: line}).Words()
	if err != nil || envPrefix.MatchString(strings.TrimSpace(line)) {
		t.set("restart_shell", true).from = o.at("restart_command")
		o.note("restart_command", "the line needs a shell, so restart_shell has /bin/sh run it")
	}
}

// modes makes models of the short names for profiles: drey has no header for
// them.
func (c *codeRouter) modes() {
	modes := c.root.object("mode_aliases")
	if modes == nil {
		return
	}
	for _, mode := range modes.keys {
		target, ok := modes.text(mode)
		if !ok {
			continue
		}
		profile, known := c.profiles.by[target]
		switch {
		case !known:
			modes.lose(mode, "its profile was not carried over")
		case c.profiles.taken[mode] && profile != mode:
			modes.lose(mode, "a profile has this name, and is stronger here")
		case profile != mode:
			c.out.sub("aliases").set(mode, profile).from = modes.at(mode)
			modes.note(mode, "a client names it as its model, or the profile in the header X-Drey-Profile; X-CodeRouter-Mode is not read")
		}
	}
}

func (c *codeRouter) probing() {
	if !c.root.has("continuous_probe") && !c.root.has("probe_interval_s") && !c.root.has("probe_paid") && !c.root.has("probe_timeout_s") {
		return
	}
	t := c.out.sub("continuous_probe")
	c.root.word("continuous_probe", t, "mode", map[string]string{"off": "off", "active": "active"})
	c.root.span("probe_interval_s", t, "interval", 5*time.Second, time.Hour)
	c.root.span("probe_timeout_s", t, "timeout", time.Second, time.Minute)
	c.root.yes("probe_paid", t, "paid")
}

func (c *codeRouter) logs() {
	for _, pair := range [][2]string{{"audit_log", "audit"}, {"request_log", "requests"}} {
		key, as := pair[0], pair[1]
		s, ok := c.root.text(key)
		switch {
		case ok && (s == "active" || s == "off"):
			c.out.sub("logs").set(as, s == "active").from = c.root.at(key)
		case ok:
			c.root.lose(key, "not a word that is known here")
		}
		if n, ok := c.root.number(key + "_max_bytes"); ok {
			mb := int(math.Ceil(min(max(n, 1), 1<<40) / (1 << 20)))
			c.out.sub("logs").set(as+"_max_mb", min(mb, 1024)).from = c.root.at(key + "_max_bytes")
		}
	}
	c.root.same("drey keeps its state in DREY_HOME, always", "state_dir")
}

// all says that every key of an object has been dealt with.
func all(o *object) map[string]bool {
	taken := map[string]bool{}
	for _, key := range o.keys {
		taken[key] = true
	}
	return taken
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// round takes the dust off a product of prices.
func round(x float64) float64 {
	s, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 10, 64), 64)
	if err != nil {
		return x
	}
	return s
}
