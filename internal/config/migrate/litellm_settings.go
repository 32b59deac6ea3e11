package migrate

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey/internal/config"
)

// settings reads router_settings and litellm_settings, which say much the same:
// the router's are stronger.
func (l *liteLLM) settings() {
	l.retries = -1
	for _, key := range []string{"litellm_settings", "router_settings"} {
		o := l.root.object(key)
		if o == nil {
			continue
		}
		l.chainSettings(o)
		for _, key := range []string{"request_timeout", "timeout"} {
			if s, ok := o.number(key); ok {
				text, exact := span(s, time.Second, 24*time.Hour)
				if !exact {
					o.lose(key, "from 1s to 1d here; the nearest was taken")
				}
				l.total, l.totalFrom = text, o.at(key)
			}
		}
		if n, ok := o.number("num_retries"); ok {
			l.retries, l.retriesFrom = int(min(max(n, 0), 3)), o.at("num_retries")
			if n > 3 {
				o.lose("num_retries", "the same provider is asked again 3 times at most; then the next one is")
			}
		}
		l.health(o)
		l.strategy(o)
		if on, ok := o.flag("set_verbose"); ok && on {
			l.out.sub("logs").set("level", "debug").from = o.at("set_verbose")
		}
		o.drop("drey caches no answers; prompt caches are the vendors'", "cache", "cache_params", "cache_responses", "caching_groups")
		o.drop("drey tells by metrics, requests.jsonl and events", "callbacks", "success_callback", "failure_callback", "service_callbacks", "langfuse_default_tags")
		o.drop("one drey keeps its state by itself; see store for several", "redis_host", "redis_port", "redis_password", "redis_url", "redis_db")
		o.drop("an answer of a content filter is passed on to the caller", "content_policy_fallbacks")
		o.same("a prompt never goes to a window that is too small while there is a larger one", "enable_pre_call_checks")
		o.same("a field that a vendor does not know is left out by the translation between wires", "drop_params", "modify_params")
		o.same("secrets are redacted and bodies not logged, always", "redact_user_api_key_info", "turn_off_message_logging")
		o.same("logs are JSON where they are not read at a terminal", "json_logs")
		o.rest()
	}
}

// chainSettings reads what comes after a model name's own deployments.
func (l *liteLLM) chainSettings(o *object) {
	for _, key := range []string{"fallbacks", "context_window_fallbacks"} {
		for _, f := range o.objects(key) {
			for _, model := range f.keys {
				behind := f.texts(model)
				if model == "*" && l.groups["*"] == nil {
					l.same = append(l.same, behind...)
					continue
				}
				if g := l.groups[model]; g != nil {
					g.behind = append(g.behind, behind...)
				} else {
					f.lose(model, "no deployment has this model_name")
				}
			}
		}
		if key == "context_window_fallbacks" && o.has(key) {
			o.note(key, "they stand at the end of the chain: a prompt that is too long skips the smaller windows by itself")
		}
	}
	l.same = append(l.same, o.texts("default_fallbacks")...)
	aliases := o.object("model_group_alias")
	if aliases == nil {
		return
	}
	for _, name := range aliases.keys {
		target, ok := aliases.take(name)
		if sub, isMap := target.(*object); isMap {
			target, ok = sub.take("model")
			sub.same("what is listed is listed by its name", "hidden")
			sub.rest()
		}
		model, _ := target.(string)
		switch g := l.groups[model]; {
		case !ok || g == nil:
			aliases.lose(name, "no deployment has this model_name")
		case l.groups[name] != nil:
			aliases.lose(name, "a deployment has this model_name")
		default:
			// The profile's own name is known when the chains are.
			e := l.out.sub("aliases").set(name, model)
			e.from = aliases.at(name)
		}
	}
}

// health maps the cooldown of deployments.
func (l *liteLLM) health(o *object) {
	if n, ok := o.number("allowed_fails"); ok {
		// Out at twice the threshold here, above allowed_fails there.
		threshold := int(math.Ceil((min(max(n, 0), 40) + 1) / 2))
		l.out.sub("health").set("threshold", min(max(threshold, 1), 20)).from = o.at("allowed_fails")
		o.note("allowed_fails", "failures in a row count here, and a provider is out at twice the threshold")
	}
	if s, ok := o.number("cooldown_time"); ok {
		text, exact := span(s, time.Second, 5*time.Minute)
		if !exact {
			o.lose("cooldown_time", "the first wait is from 1s to 5m here; the nearest was taken")
		}
		l.out.sub("health").sub("probe").set("initial", text).from = o.at("cooldown_time")
		o.note("cooldown_time", "the wait before the first probe; it doubles while probes fail")
	}
	if off, ok := o.flag("disable_cooldowns"); ok && off {
		l.noCooldown = true
	}
	o.drop("what a failure means follows from its class here", "allowed_fails_policy", "retry_policy", "retry_after", "model_group_retry_policy")
}

func (l *liteLLM) strategy(o *object) {
	s, ok := o.text("routing_strategy")
	switch {
	case !ok:
	case s == "simple-shuffle", s == "least-busy":
		o.note("routing_strategy", "deployments of one model name are a pool of equals: affinity first, then fewest in flight")
	case strings.HasPrefix(s, "latency-based"):
		l.adaptive = true
		o.note("routing_strategy", "adaptive orders by measured speed and errors")
	default:
		o.lose("routing_strategy", "deployments of one model name are a pool of equals: affinity first, then fewest in flight")
	}
	o.drop("there is nothing to set about it here", "routing_strategy_args")
}

// chains makes the profiles.
func (l *liteLLM) chains() {
	profiles := l.out.sub("profiles")
	for _, g := range l.order {
		if len(g.pool) == 0 {
			l.lose(g.from, "none of its deployments could be carried over")
			continue
		}
		name := g.model
		if strings.Trim(name, "*/ ") == "" {
			name = "all"
		}
		g.name = l.profiles.add(l.name(name))
	}
	for _, g := range l.order {
		if g.name == "" {
			continue
		}
		t := &tree{}
		profiles.set(g.name, t).from = g.from
		e := t.set("chain", l.chain(g))
		e.from, e.needed = g.from, true
		if l.total != "" {
			t.sub("timeouts").set("total", l.total).from = l.totalFrom
		}
		if l.retries >= 0 {
			t.sub("retry").set("same_provider", l.retries).from = l.retriesFrom
		}
		if l.adaptive {
			t.set("adaptive", true)
		}
		if l.noCooldown {
			t.set("health_action", "off")
		}
	}
	l.aliases()
	if l.fallback == "" && len(profiles.entries) > 0 {
		l.fallback = profiles.entries[0].key
	}
	if l.fallback != "" {
		l.out.set("default_profile", l.fallback).comment = "litellm refuses a model that it does not know; drey sends it here"
	}
}

// chain is a model name's pool, and behind it the pools of its fallbacks. No
// provider stands in a chain twice.
func (l *liteLLM) chain(g *group) []any {
	var chain []any
	seen := map[string]bool{}
	place := func(pool []string) {
		var left []any
		for _, p := range pool {
			if !seen[p] {
				seen[p] = true
				left = append(left, p)
			}
		}
		switch len(left) {
		case 0:
		case 1:
			chain = append(chain, left[0])
		default:
			chain = append(chain, left)
		}
	}
	place(g.pool)
	for _, model := range slices.Concat(g.behind, l.same) {
		if next := l.groups[model]; next != nil {
			place(next.pool)
		} else {
			l.lose(g.from, "a fallback names a model that no deployment has")
		}
	}
	return chain
}

// aliases sends the models whose name cannot be that of a profile to theirs,
// those with wildcards last, and the aliases of the source to the profiles.
func (l *liteLLM) aliases() {
	if given, ok := l.out.get("aliases").(*tree); ok {
		for _, e := range slices.Clone(given.entries) {
			model, _ := e.value.(string)
			if g := l.groups[model]; g != nil && g.name != "" {
				e.value = g.name
			} else {
				given.remove(e.key)
				l.lose(e.from, "its model was not carried over")
			}
		}
	}
	var wild []*group
	for _, g := range l.order {
		switch {
		case g.name == "" || g.model == g.name:
		case strings.ContainsAny(g.model, "*?"):
			wild = append(wild, g)
		case g.model != "":
			l.out.sub("aliases").set(g.model, g.name).from = g.from
		}
	}
	slices.SortStableFunc(wild, func(a, b *group) int { return len(b.model) - len(a.model) })
	for _, g := range wild {
		l.out.sub("aliases").set(g.model, g.name).from = g.from
	}
}

// keys reads general_settings: who may call.
func (l *liteLLM) keys() {
	o := l.root.object("general_settings")
	if o == nil {
		return
	}
	if s, ok := o.text("master_key"); ok {
		// drey does not start with a key whose secret is not there, so that it
		// is for the owner to say when it is.
		if ref, _ := l.credential(s, "LITELLM_MASTER_KEY"); ref != "" {
			l.aside = "# Who may call, once " + strings.TrimPrefix(ref, "env:") + " is set; until then everybody on this machine:\n" +
				"# keys:\n#   - {name: master, secret: " + config.Quote(ref) + ", admin: true}\n"
			l.do("set " + strings.TrimPrefix(ref, "env:") + " and take the # from keys at the end, unless everybody on this machine may call")
			o.lose("master_key", "it is written out at the end and not in force yet, since drey does not start without the secret")
		} else {
			o.lose("master_key", "not the name of a variable, or a placeholder")
		}
	}
	if model, ok := o.text("completion_model"); ok {
		if g := l.groups[model]; g != nil && g.name != "" {
			l.fallback = g.name
			l.out.set("default_profile", g.name).from = o.at("completion_model")
		} else {
			o.lose("completion_model", "no deployment has this model_name")
		}
	}
	o.drop("drey keeps no keys, users or spend in a database; its clients are in keys", "database_url", "database_connection_pool_limit",
		"database_connection_timeout", "store_model_in_db", "store_prompts_in_spend_logs", "disable_spend_logs", "allow_requests_on_db_unavailable")
	o.drop("drey tells by metrics, requests.jsonl and events", "alerting", "alerting_threshold", "alert_types", "alert_to_webhook_url", "alerting_args")
	if on, ok := o.flag("background_health_checks"); ok {
		t := l.out.sub("continuous_probe")
		t.set("mode", map[bool]string{true: "active", false: "off"}[on]).from = o.at("background_health_checks")
		o.span("health_check_interval", t, "interval", 5*time.Second, time.Hour)
	}
	if n, ok := o.number("global_max_parallel_requests"); ok && n >= 1 {
		l.out.sub("listen").set("max_streams", int(min(n, math.MaxInt32))).from = o.at("global_max_parallel_requests")
	}
	o.rest()
}
