package migrate

import (
	"strings"

	"github.com/dreyhq/drey/internal/config"
)

// vendor is where LiteLLM sends the models with a prefix, as far as drey can.
type vendor struct {
	wire string
	url  string // "" = the file must name it in api_base
	key  string // the variable that LiteLLM reads where the file names no key; "" = none
	path string // what belongs behind an api_base
}

// vendors are by the prefix before the first slash of a model. Addresses and
// variables are those of LiteLLM's documentation of its providers.
var vendors = map[string]vendor{
	"openai":                 {config.WireOpenAI, "https://api.openai.com/v1", "OPENAI_API_KEY", ""},
	"anthropic":              {config.WireAnthropic, "https://api.anthropic.com", "ANTHROPIC_API_KEY", ""},
	"openrouter":             {config.WireOpenAI, "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", ""},
	"groq":                   {config.WireOpenAI, "https://api.groq.com/openai/v1", "GROQ_API_KEY", ""},
	"deepseek":               {config.WireOpenAI, "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", ""},
	"mistral":                {config.WireOpenAI, "https://api.mistral.ai/v1", "MISTRAL_API_KEY", ""},
	"codestral":              {config.WireOpenAI, "https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY", ""},
	"xai":                    {config.WireOpenAI, "https://api.x.ai/v1", "XAI_API_KEY", ""},
	"together_ai":            {config.WireOpenAI, "https://api.together.xyz/v1", "TOGETHERAI_API_KEY", ""},
	"fireworks_ai":           {config.WireOpenAI, "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY", ""},
	"perplexity":             {config.WireOpenAI, "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", ""},
	"cerebras":               {config.WireOpenAI, "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", ""},
	"sambanova":              {config.WireOpenAI, "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", ""},
	"nvidia_nim":             {config.WireOpenAI, "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY", ""},
	"deepinfra":              {config.WireOpenAI, "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", ""},
	"moonshot":               {config.WireOpenAI, "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", ""},
	"dashscope":              {config.WireOpenAI, "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", ""},
	"gemini":                 {config.WireOpenAI, "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", ""},
	"github":                 {config.WireOpenAI, "https://models.github.ai/inference", "GITHUB_API_KEY", ""},
	"ollama":                 {config.WireOpenAI, "http://localhost:11434/v1", "", "/v1"},
	"ollama_chat":            {config.WireOpenAI, "http://localhost:11434/v1", "", "/v1"},
	"lm_studio":              {config.WireOpenAI, "http://localhost:1234/v1", "", ""},
	"llamafile":              {config.WireOpenAI, "http://127.0.0.1:8080/v1", "", ""},
	"hosted_vllm":            {config.WireOpenAI, "", "", ""},
	"vllm":                   {config.WireOpenAI, "", "", ""},
	"xinference":             {config.WireOpenAI, "http://127.0.0.1:9997/v1", "", ""},
	"openai_like":            {config.WireOpenAI, "", "", ""},
	"custom_openai":          {config.WireOpenAI, "", "", ""},
	"litellm_proxy":          {config.WireOpenAI, "", "LITELLM_PROXY_API_KEY", ""},
	"azure":                  {config.WireOpenAI, "", "AZURE_API_KEY", "/openai/v1"},
	"azure_ai":               {config.WireOpenAI, "", "AZURE_AI_API_KEY", ""},
	"github_copilot":         {},
	"bedrock":                {},
	"bedrock_converse":       {},
	"vertex_ai":              {},
	"vertex_ai_beta":         {},
	"sagemaker":              {},
	"sagemaker_chat":         {},
	"watsonx":                {},
	"cohere":                 {},
	"cohere_chat":            {},
	"replicate":              {},
	"huggingface":            {},
	"databricks":             {},
	"predibase":              {},
	"ai21":                   {},
	"nlp_cloud":              {},
	"oobabooga":              {},
	"petals":                 {},
	"triton":                 {},
	"cloudflare":             {},
	"snowflake":              {},
	"text-completion-openai": {},
	"auto_router":            {},
}

// vendorOf splits a model of LiteLLM into its vendor and what the vendor calls
// it. Where the model has no known prefix, its name and whether the file names
// an address tell.
func vendorOf(model, custom string, hasBase bool) (v vendor, prefix, name string, ok bool) {
	if custom != "" {
		v, ok = vendors[custom]
		return v, custom, strings.TrimPrefix(model, custom+"/"), ok && v.wire != ""
	}
	if before, after, cut := strings.Cut(model, "/"); cut {
		if v, known := vendors[before]; known {
			return v, before, after, v.wire != ""
		}
	}
	switch low := strings.ToLower(model); {
	case hasBase:
		return vendors["openai_like"], "", model, true
	case strings.HasPrefix(low, "claude"):
		return vendors["anthropic"], "anthropic", model, true
	case !strings.Contains(model, "/") && model != "":
		return vendors["openai"], "openai", model, true
	}
	return vendor{}, "", model, false
}
