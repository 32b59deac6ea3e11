package migrate

import (
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
)

// liteLLM reads a config.yaml of LiteLLM's proxy. A deployment becomes a
// provider, a model name with its deployments a profile whose first place is
// the pool of them, and its fallbacks the places behind.
func (m *importer) liteLLM(root *object) error {
	if !root.has("model_list") {
		return errors.New("this is no configuration of litellm, which has a model_list")
	}
	l := &liteLLM{importer: m, root: root, providers: newNames(), profiles: newNames("auto"), groups: map[string]*group{}}
	m.out.set("default_profile", "default") // its place in the file; settled below
	m.out.sub("providers")
	for _, d := range root.objects("model_list") {
		l.deployment(d)
	}
	l.settings()
	l.chains()
	l.keys()
	if l.paid {
		m.out.entries = slices.Insert(m.out.entries, 1, &entry{
			key: "allow_paid", value: true, comment: "litellm uses what costs money without being asked to; drey does so only where this is true",
		})
	}
	if env := root.object("environment_variables"); env != nil {
		env.drop("set it in the environment of drey", env.keys...)
	}
	root.drop("drey has one file; import each by itself", "include")
	root.rest()
	return nil
}

type liteLLM struct {
	*importer
	root                *object
	providers, profiles *names
	groups              map[string]*group // by model name
	order               []*group
	paid                bool
	fallback            string // the profile of requests that name nothing known
	same                []string
	total               string // of a request over all attempts; "" = drey's own
	totalFrom           string
	retries             int // -1 = drey's own
	retriesFrom         string
	adaptive            bool
	noCooldown          bool
}

// group is a model name with its deployments.
type group struct {
	model  string // as clients name it
	name   string // the profile's
	from   string
	pool   []string // providers
	behind []string // model names of the fallbacks, in order
}

func (l *liteLLM) deployment(o *object) {
	model, named := o.text("model_name")
	params := o.object("litellm_params")
	info := o.object("model_info")
	if !named || params == nil {
		l.lose(o.path, "a deployment without model_name or litellm_params")
		o.taken = all(o)
		return
	}
	g := l.groups[model]
	if g == nil {
		g = &group{model: model, from: o.path}
		l.groups[model] = g
		l.order = append(l.order, g)
	}
	if name := l.provider(o, params, info, model); name != "" {
		g.pool = append(g.pool, name)
	}
	o.rest()
}

// provider makes a provider of a deployment, and returns its name.
func (l *liteLLM) provider(o, params, info *object, group string) string {
	full, ok := params.text("model")
	custom, _ := params.text("custom_llm_provider")
	v, prefix, model, known := vendorOf(full, custom, params.has("api_base") || params.has("base_url"))
	if !ok || !known {
		reason := "drey speaks OpenAI's and Anthropic's API, and this vendor has another one"
		if !ok {
			reason = "a deployment without a model"
		}
		return l.giveUp(o, params, info, reason)
	}
	url := l.address(params, v)
	if url == "" {
		return l.giveUp(o, params, info, "a deployment without an address that drey can use")
	}
	id := group
	if info != nil {
		if s, ok := info.text("id"); ok {
			id = s
		}
	}
	if strings.Trim(id, "*/ ") == "" {
		id = prefix
	}
	name := l.providers.add(l.name(id))
	e := l.out.sub("providers").set(name, &tree{})
	e.from = o.path
	t := e.value.(*tree)
	t.set("wire", v.wire)
	ue := t.set("url", url)
	ue.from, ue.needed = params.at("api_base"), true
	if strings.Contains(model, "*") {
		if full != "*" && prefix != "" && full != model {
			params.lose("model", "the caller's model goes through as it is, with its prefix "+prefix+"/ if it has one")
		}
	} else {
		t.set("model", model).from = params.at("model")
	}
	l.key(params, t, v, name, url)
	l.params(params, t)
	l.info(info, params, t)
	if t.get("class") == nil && config.GuessPrice(url) != drey.Local {
		l.paid = true
	}
	params.rest()
	if info != nil {
		info.rest()
	}
	return name
}

func (l *liteLLM) giveUp(o, params, info *object, reason string) string {
	l.lose(o.path, reason)
	o.taken, params.taken = all(o), all(params)
	if info != nil {
		info.taken = all(info)
	}
	return ""
}

// address is where a deployment is: what the file says, else the vendor's own.
func (l *liteLLM) address(params *object, v vendor) string {
	key := "api_base"
	if !params.has(key) && params.has("base_url") {
		key = "base_url"
	}
	raw, ok := params.text(key)
	switch {
	case !ok:
		return v.url
	case strings.HasPrefix(raw, environment):
		params.lose(key, "an address is written out in drey.yaml; variables are not read for it")
		return v.url
	}
	raw = strings.TrimRight(strings.TrimSpace(raw), "/")
	if v.path == "/openai/v1" { // azure: its address of the first versions is the resource alone
		if i := strings.Index(raw, "/openai"); i >= 0 {
			raw = raw[:i]
		}
		raw += v.path
		params.same("the address of Azure's API v1 needs none", "api_version")
	} else if v.path != "" && !strings.HasSuffix(raw, v.path) {
		raw += v.path
	}
	return params.checked(key, v.wire, raw)
}

func (l *liteLLM) key(params *object, t *tree, v vendor, name, url string) {
	value, ok := params.text("api_key")
	local := config.GuessPrice(url) == drey.Local
	switch {
	case !ok && v.key != "" && !(local && params.has("api_base")):
		t.set("key", "env:"+v.key)
		l.do("set " + v.key + ", from which litellm takes the key")
	case ok:
		ref, comment := l.credential(value, name+"_API_KEY")
		switch {
		case ref != "":
			e := t.set("key", ref)
			e.from, e.comment = params.at("api_key"), comment
		case placeholders[strings.ToLower(strings.TrimSpace(value))]:
			params.note("api_key", "a placeholder; a server that asks for no key gets none")
		default:
			params.lose("api_key", "not the name of a variable")
		}
	}
	if org, ok := params.text("organization"); ok {
		if strings.HasPrefix(org, environment) {
			org, _ = l.credential(org, "")
		}
		t.sub("headers").set("OpenAI-Organization", org).from = params.at("organization")
	}
	if headers := params.object("extra_headers"); headers != nil {
		for _, h := range headers.keys {
			s, ok := headers.text(h)
			if !ok {
				continue
			}
			if strings.HasPrefix(s, environment) || secretHeader.MatchString(h) || l.holdsSecret(s) {
				ref, comment := l.credential(s, name+"_"+h)
				if ref == "" {
					headers.lose(h, "not the name of a variable")
					continue
				}
				e := t.sub("headers").set(h, ref)
				e.from, e.comment = headers.at(h), comment
				continue
			}
			t.sub("headers").set(h, s).from = headers.at(h)
		}
	}
}

var secretHeader = regexp.MustCompile(`(?i)(authorization|key|token|secret|cookie|password)`)

// bodyFields are parameters of a request that a deployment may give defaults
// for.
var bodyFields = []string{
	"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "n", "seed", "stop", "frequency_penalty", "presence_penalty",
	"repetition_penalty", "logit_bias", "user", "reasoning_effort", "thinking", "response_format", "service_tier", "keep_alive", "num_ctx", "verbosity",
}

func (l *liteLLM) params(o *object, t *tree) {
	body := &tree{}
	for _, key := range bodyFields {
		if v, ok := o.take(key); ok {
			body.set(key, v).from = o.at(key)
		}
	}
	if extra := o.object("extra_body"); extra != nil {
		for _, key := range extra.keys {
			body.set(key, extra.values[key]).from = extra.at(key)
		}
	}
	for _, e := range slices.Clone(body.entries) {
		if l.holds(&object{m: l.importer, keys: []string{e.key}, values: map[string]any{e.key: e.value}}) {
			body.remove(e.key)
			l.lose(e.from, "a secret may stand in it; drey takes secrets in key and headers alone")
		}
	}
	if len(body.entries) > 0 {
		t.set("extra_body", body)
	}
	if drop := o.texts("additional_drop_params"); len(drop) > 0 {
		t.set("drop_fields", anys(drop)).from = o.at("additional_drop_params")
	}
	o.span("stream_timeout", t.sub("timeouts"), "first_token", time.Second, time.Hour)
	o.span("timeout", t.sub("timeouts"), "total", time.Second, 24*time.Hour)
	if len(t.sub("timeouts").entries) == 0 {
		t.remove("timeouts")
	}
	if o.has("max_parallel_requests") {
		o.whole("max_parallel_requests", t.sub("limits"), "concurrency", 0, 1024)
	}
	if check, ok := o.take("ssl_verify"); ok {
		switch v := check.(type) {
		case bool:
			if !v {
				t.sub("tls").set("insecure", true).from = o.at("ssl_verify")
			}
		case string:
			t.sub("tls").set("ca_file", v).from = o.at("ssl_verify")
		default:
			o.lose("ssl_verify", "neither true, false nor a file")
		}
	}
	l.money(o, t)
	o.drop("drey counts no calls per minute ahead of the vendor; it obeys Retry-After, and limits.concurrency bounds calls at once", "rpm", "tpm")
	o.drop("members of a pool are equals here: affinity first, then fewest in flight", "weight", "order", "tags")
	o.drop("retries belong to profiles here", "max_retries", "num_retries")
	o.same("a field that a vendor does not know is left out by the translation between wires", "drop_params")
	o.same("there is one way to it here", "use_in_pass_through", "merge_reasoning_content_in_choices", "mock_response")
}

// money maps prices, which are per token there and per million here, and
// budgets.
func (l *liteLLM) money(o *object, t *tree) {
	cost := &tree{}
	if old, ok := t.get("cost").(*tree); ok {
		cost = old
	}
	free := 0
	for _, pair := range [][2]string{
		{"input_cost_per_token", "input"}, {"output_cost_per_token", "output"},
		{"cache_read_input_token_cost", "cache_read"}, {"cache_creation_input_token_cost", "cache_write"},
	} {
		if x, ok := o.number(pair[0]); ok {
			cost.set(pair[1], round(x*1e6)).from = o.at(pair[0])
			if x == 0 && pair[1] != "cache_read" && pair[1] != "cache_write" {
				free++
			}
		}
	}
	if url, _ := t.get("url").(string); free == 2 && config.GuessPrice(url) != drey.Local {
		t.set("class", "free").from = o.at("input_cost_per_token")
	}
	if limit, ok := o.number("max_budget"); ok {
		span, _ := o.text("budget_duration")
		switch span {
		case "1d", "24h":
			cost.set("usd_day", limit).from = o.at("max_budget")
		case "30d", "31d", "1mo":
			cost.set("usd_month", limit).from = o.at("max_budget")
			o.note("budget_duration", "a month of the calendar, UTC")
		default:
			o.lose("max_budget", "a budget is per day or per month here")
		}
	}
	if len(cost.entries) > 0 {
		t.set("cost", cost)
	}
}

// info maps what the file says of the model.
func (l *liteLLM) info(o, params *object, t *tree) {
	if o == nil {
		return
	}
	mode, ok := o.text("mode")
	switch {
	case ok && (mode == "chat" || mode == "completion" || mode == "responses" || mode == "embedding"):
		o.note("mode", "a provider does what its server does")
	case ok:
		o.lose("mode", "drey carries text and embeddings")
	}
	window := "max_input_tokens"
	if !o.has(window) {
		window = "max_tokens"
	} else {
		o.same("max_input_tokens says it", "max_tokens")
	}
	o.whole(window, t, "context_tokens", 0, math.MaxInt32)
	o.whole("max_output_tokens", t, "max_output_tokens", 0, math.MaxInt32)
	caps := &tree{}
	for _, pair := range [][2]string{
		{"supports_function_calling", "tools"}, {"supports_vision", "vision"}, {"supports_pdf_input", "documents"}, {"supports_reasoning", "thinking"},
		{"supports_prompt_caching", "cache"}, {"supports_response_schema", "json_schema"}, {"supports_assistant_prefill", "prefill"},
	} {
		o.yes(pair[0], caps, pair[1])
	}
	if len(caps.entries) > 0 {
		t.set("capabilities", caps)
	}
	l.money(o, t)
	o.same("the built-in table of models goes by the name of the model", "base_model")
}
