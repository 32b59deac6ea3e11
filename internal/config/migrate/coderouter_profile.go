package migrate

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

func (c *codeRouter) profile(o *object) {
	source, ok := o.text("name")
	if !ok {
		c.lose(o.path, "a profile without a name")
		o.taken = all(o)
		return
	}
	var chain []string
	for _, p := range o.texts("providers") {
		name, known := c.providers.by[p]
		switch {
		case !known:
			o.lose("providers", "a provider that was not carried over is left out of the chain")
		case slices.Contains(chain, name):
			o.note("providers", "a provider stands in a chain once")
		default:
			chain = append(chain, name)
		}
	}
	if len(chain) == 0 {
		c.lose(o.path, "none of its providers could be carried over")
		o.taken = all(o)
		return
	}
	name := c.profiles.add(c.name(source))
	if name != source {
		o.note("name", "it is called "+name+" here")
	}
	t := &tree{}
	c.out.sub("profiles").set(name, t).from = o.path
	e := t.set("chain", anys(chain))
	e.from, e.needed = o.at("providers"), true
	if o.has("timeout_s") {
		c.timeout(o, t)
	}
	o.copy("append_system_prompt", t, "append_system")
	c.health(o, t, chain)
	o.yes("adaptive", t, "adaptive")
	c.guards(o, t)
	c.answers(o)
	o.word("empty_response_action", t, "empty_answer", map[string]string{"off": "off", "warn": "warn", "fallback": "fallback"})
	o.rest()
}

// health maps what a profile does about providers that are not well, and keeps
// its thresholds for the providers.
func (c *codeRouter) health(o *object, t *tree, chain []string) {
	action, _ := o.text("backend_health_action")
	o.word("backend_health_action", t, "health_action", map[string]string{
		"off": "off", "warn": "warn", "demote": "demote", "exclude": "exclude", "skip": "exclude",
	})
	initial := "recovery_probe_initial_s"
	if action == "skip" {
		o.note("backend_health_action", "excluding is the same here: a provider that is out is tried again on its own")
		initial = "backend_health_half_open_s"
	} else {
		o.same("only skip reads it", "backend_health_half_open_s")
	}
	say := thresholds{set: true, failures: 3, initial: 30, longest: 300, start: 30}
	for _, f := range []struct {
		key string
		v   *float64
	}{{"backend_health_threshold", &say.failures}, {initial, &say.initial}, {"recovery_probe_max_s", &say.longest}, {"restart_timeout_s", &say.start}} {
		if x, ok := o.number(f.key); ok && x > 0 {
			*f.v = x
			say.from = append(say.from, o.at(f.key))
		}
	}
	for _, p := range chain {
		was := c.lowest[p]
		if !was.set {
			c.lowest[p] = say
			continue
		}
		now := was
		now.differ = was.differ || was.failures != say.failures || was.initial != say.initial || was.longest != say.longest || was.start != say.start
		now.failures, now.initial = min(was.failures, say.failures), min(was.initial, say.initial)
		now.longest, now.start = min(was.longest, say.longest), min(was.start, say.start)
		now.from = append(slices.Clip(was.from), say.from...)
		c.lowest[p] = now
	}
	switch action, _ := o.text("memory_pressure_action"); action {
	case "":
	case "skip":
		o.note("memory_pressure_action", "drey leaves a provider alone that ran out of memory, always")
	default:
		o.lose("memory_pressure_action", "drey leaves a provider alone that ran out of memory, always")
	}
	if s, ok := o.number("memory_pressure_cooldown_s"); ok && s != 120 {
		o.lose("memory_pressure_cooldown_s", "it is 120 s here")
	} else if ok {
		o.note("memory_pressure_cooldown_s", "it is 120 s here")
	}
}

// thresholds gives the providers the smallest thresholds of their profiles.
func (c *codeRouter) thresholds() {
	for _, e := range c.out.sub("providers").entries {
		low, ok := c.lowest[e.key]
		if !ok {
			continue
		}
		t := c.trees[e.key]
		from := strings.Join(low.from, ", ")
		if low.differ {
			for _, path := range low.from {
				c.note(path, "thresholds belong to providers here; the smallest of a provider's profiles was taken")
			}
		}
		if low.failures != 3 {
			t.sub("health").set("threshold", int(math.Round(min(max(low.failures, 1), 20)))).from = from
		}
		if low.initial != 30 || low.longest != 300 {
			probe := t.sub("health").sub("probe")
			first, _ := span(low.initial, time.Second, 10*time.Minute)
			longest, _ := span(max(low.longest, low.initial), time.Second, time.Hour)
			probe.set("initial", first).from = from
			probe.set("max", longest).from = from
		}
		if t.get("restart_command") != nil && low.start != 30 {
			text, _ := span(low.start, 5*time.Second, 2*time.Minute)
			t.set("restart_timeout", text).from = from
		}
	}
}

// guards maps those of tool calls, the context window and quality.
func (c *codeRouter) guards(o *object, t *tree) {
	loop := &tree{}
	o.word("tool_loop_action", loop, "action", map[string]string{"warn": "warn", "inject": "inject", "break": "break"})
	o.whole("tool_loop_window", loop, "window", 2, 200)
	o.whole("tool_loop_threshold", loop, "threshold", 2, 50)
	if window, ok := loop.get("window").(int); ok {
		threshold, said := loop.get("threshold").(int)
		if !said {
			threshold = 3
		}
		if threshold > window {
			o.lose("tool_loop_threshold", "it is at most the window here")
			loop.set("threshold", window)
		}
	}
	if len(loop.entries) > 0 {
		t.set("tool_loop", loop)
	}
	if o.has("max_tool_calls") {
		cut := t.sub("tool_cap")
		o.whole("max_tool_calls", cut, "limit", 0, 10000)
		if action, ok := loop.get("action").(string); ok {
			cut.set("action", action).from = o.at("tool_loop_action")
		}
	}
	budget := &tree{}
	o.word("context_budget_action", budget, "action", map[string]string{"off": "off", "warn": "warn", "trim": "trim"})
	o.real("context_budget_warn_threshold", budget, "warn")
	o.real("context_budget_trim_threshold", budget, "trim")
	o.real("context_budget_trim_target", budget, "target")
	o.whole("context_budget_preserve_last_n", budget, "keep_last", 1, 100)
	if len(budget.entries) > 0 {
		t.set("context_budget", budget)
	}
	drift := &tree{}
	o.word("drift_detection_action", drift, "action", map[string]string{"off": "off", "warn": "warn", "promote": "demote", "reload": "reload"})
	o.whole("drift_detection_window_size", drift, "window", 4, 200)
	o.span("drift_detection_cooldown_s", drift, "cooldown", 10*time.Second, time.Hour)
	o.word("drift_detection_sensitivity", drift, "sensitivity", map[string]string{"low": "low", "normal": "normal", "high": "high"})
	if goal, ok := o.flag("goal_mode"); ok && goal {
		drift.set("sensitivity", "high").from = o.at("goal_mode")
		o.lose("goal_mode", "there is no preset for goals here; the sensitivity is set to high")
	} else if ok {
		o.note("goal_mode", "off is what drey does")
	}
	if len(drift.entries) > 0 {
		t.set("drift", drift)
	}
}

// answers lists what drey always does one way.
func (c *codeRouter) answers(o *object) {
	for _, r := range []struct{ key, same, otherwise string }{
		{"partial_stitch_action", "off", "a cut answer never ends like a whole one here; see rescue for what can be done about it"},
		{"stream_truncation_action", "error", "a cut stream always counts as a failure here"},
		{"tool_choice_action", "off", "a forced tool is asked for in the provider's own words here, and not put into the prompt"},
		{"cache_control_action", "strip", "a mark for caches goes only to a provider whose capabilities.cache is true"},
	} {
		s, ok := o.text(r.key)
		switch {
		case ok && s == r.same:
			o.note(r.key, r.otherwise)
		case ok && r.key == "cache_control_action":
			o.note(r.key, r.otherwise)
		case ok:
			o.lose(r.key, r.otherwise)
		}
	}
}

// defaultProfile settles the default profile and the auto-router.
func (c *codeRouter) defaultProfile() {
	name, ok := c.root.text("default_profile")
	if !ok {
		name = "default"
	}
	router := c.root.object("auto_router")
	switch {
	case name == "auto" && router == nil:
		c.out.set("default_profile", "auto")
		c.bundled()
	case name == "auto":
		c.out.set("default_profile", "auto")
		c.router(router)
	default:
		if to, known := c.profiles.by[name]; known {
			c.out.set("default_profile", to)
		} else if ok {
			c.root.lose("default_profile", "it was not carried over; the first profile takes its place")
		}
		if router != nil {
			c.lose(router.path, "it is asked only where default_profile is auto, and it is not")
			router.taken = all(router)
		}
	}
}

// bundled writes out the rules that CodeRouter has where the file has none.
func (c *codeRouter) bundled() {
	t := c.out.sub("auto_router")
	var rules []any
	for _, r := range [][3]string{{"image", "has_image", "multi"}, {"code", "code_ratio >= 0.3", "coding"}} {
		if profile, ok := c.profiles.by[r[2]]; ok {
			rules = append(rules, rule(r[0], r[1], profile, "default_profile"))
		}
	}
	t.set("rules", rules)
	c.fallback(t, c.root.at("default_profile"), "writing")
	c.root.note("default_profile", "the rules that coderouter has built in are written out in auto_router")
}

func (c *codeRouter) fallback(t *tree, from, name string) {
	profile, known := c.profiles.by[name]
	if !known {
		c.lose(from, "the profile where no rule is true was not carried over; the first takes its place")
		if all := c.out.sub("profiles").entries; len(all) > 0 {
			profile = all[0].key
		}
	}
	e := t.set("default", profile)
	e.from, e.needed = from, true
}

func rule(id, when, profile, from string) *tree {
	t := &tree{}
	for _, f := range [][2]string{{"id", id}, {"when", when}, {"profile", profile}} {
		e := t.set(f[0], f[1])
		e.from, e.needed = from, true
	}
	return t
}

func (c *codeRouter) router(o *object) {
	name, ok := o.text("default_rule_profile")
	if !ok {
		name = "writing"
	}
	if off, _ := o.flag("disabled"); off {
		if to, known := c.profiles.by[name]; known {
			c.out.set("default_profile", to)
		}
		o.note("disabled", "the default profile is that of no rule, and the rules are left out")
		o.drop("they are disabled", "rules")
		o.rest()
		return
	}
	t := c.out.sub("auto_router")
	ids := newNames("default") // which stands for no rule
	var rules []any
	for _, r := range o.objects("rules") {
		source, ok := r.text("id")
		if !ok {
			source = "rule"
		}
		id := ids.add(c.name(source))
		if ok && id != source {
			r.note("id", "the name of a rule is made of letters, digits, dots, dashes and underscores here")
		}
		target, _ := r.text("profile")
		profile, known := c.profiles.by[target]
		if !known {
			c.lose(r.path, "its profile was not carried over")
			r.taken = all(r)
			continue
		}
		if when := c.condition(r); when != "" {
			rules = append(rules, rule(id, when, profile, r.path))
		}
		r.rest()
	}
	t.set("rules", rules)
	c.fallback(t, o.at("default_rule_profile"), name)
	o.rest()
}

// condition writes a matcher as a condition; "" if there is none that could be.
func (c *codeRouter) condition(r *object) string {
	match := r.object("match")
	if match == nil {
		c.lose(r.path, "a rule without a match")
		return ""
	}
	var parts []string
	lost := false
	for _, key := range match.keys {
		if !match.has(key) {
			continue
		}
		part := c.matcher(match, key)
		lost = lost || part == ""
		parts = append(parts, part)
	}
	when := strings.Join(parts, " and ")
	if lost {
		return ""
	}
	if when == "" {
		match.m.lose(match.path, "a match without a matcher")
	}
	return when
}

func (c *codeRouter) matcher(match *object, key string) string {
	switch key {
	case "has_image", "has_tools":
		if on, _ := match.flag(key); on {
			if key == "has_image" {
				match.note(key, "an image counts wherever in the conversation it stands")
			}
			return key
		}
	case "code_fence_ratio_min":
		if x, ok := match.number(key); ok {
			return fmt.Sprintf("code_ratio >= %v", x)
		}
	case "content_token_count_min":
		if x, ok := match.number(key); ok {
			return fmt.Sprintf("tokens >= %v", math.Ceil(x))
		}
	case "content_contains":
		if s, ok := match.text(key); ok {
			return "text contains " + quoted(s)
		}
	case "content_regex":
		if s, ok := match.text(key); ok && c.pattern(match, key, s) {
			return "text matches " + quoted(s)
		}
		return ""
	case "model_pattern":
		if s, ok := match.text(key); ok && c.pattern(match, key, s) {
			return "model matches " + quoted(`\A(?:`+s+`)\z`)
		}
		return ""
	}
	match.taken[key] = true
	match.lose(key, "no condition says this here; the rule is left out")
	return ""
}

func (c *codeRouter) pattern(o *object, key, s string) bool {
	if _, err := regexp.Compile(s); err != nil {
		o.lose(key, "patterns are RE2 here, without lookahead and backreferences; the rule is left out")
		return false
	}
	return true
}

// quoted writes a text as a string of a condition.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
