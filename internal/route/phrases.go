package route

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// lazy compiles an expression when it is first needed. A daemon that is woken
// by a request needs none of them before its answer, and all together take a
// millisecond.
func lazy(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// Texts are searched in lower case (report.all). The expressions run in linear
// time, and only where a request has failed already.
var (
	// resourceText: memory or device. Words are bounded: "room" is no oom, and
	// neither is a model called oom-7b. What failed to load must be a model: a
	// server that cannot load an image of the caller's says so with the same
	// verb.
	resourceText = lazy(`\bout[ _]of[ _](?:\w+[ _])?memory\b|outofmemory|(?:^|[^\w-])oom(?:[^\w-]|$)|\bbad_alloc\b|` +
		`\b(?:failed|unable|cannot|could not) (?:to )?allocate\b|\bmalloc failed\b|\bcudamalloc failed\b|` +
		`\b(?:failed|unable) to load\b[^.;]{0,60}\b(?:model|weights|checkpoint|gguf|tensors?)\b|\berror loading model\b|` +
		`\b(?:insufficient|not enough|requires more)\b[^.;]{0,20}\b(?:memory|vram|system resources)\b|` +
		`\bdevice (?:was |is )?lost\b|device_?lost`)

	loadingText = lazy(`\b(?:loading|starting|warming)\b`)

	// quotaText is a limit that resets at a stated time, or money that is gone.
	quotaText = lazy(`(?s)\blimit\b.{0,200}\bresets\b|\busage limit reached\b|\binsufficient_quota\b`)
	// noMoney says so also under a status that is not 402 (Anthropic: 400).
	noMoney = lazy(`\bcredit balance is too low\b|\binsufficient (?:balance|credits?|funds)\b|\bbilling_error\b|\binsufficient_quota\b`)
	// badKey says so also under 400 (Gemini, xAI).
	badKey = lazy(`\bapi key (?:is )?(?:not valid|invalid|expired)\b|\bapi_key_invalid\b|\b(?:invalid|incorrect) api key\b|\binvalid_api_key\b`)

	// contextText: the prompt is longer than the window. In order: codes;
	// Anthropic; OpenAI, OpenRouter, DeepSeek, vLLM and whoever copies them;
	// Ollama; llama.cpp; LM Studio; Gemini; Mistral; xAI; Groq; Bedrock; TGI;
	// Moonshot; Copilot.
	contextText = lazy(`context_length_exceeded|exceed_context_size|model_context_window_exceeded|context_window_exceeded|` +
		`\bprompt is too long\b|\bexceeds? (?:the )?context limit\b|` +
		`\bmaximum context length\b|\bmodel's context length\b|\bmaximum model length\b|\bmax_model_len\b|\bexceeds the context window\b|\bcontext window exceeds\b|` +
		`\bexceeds? (?:the )?(?:maximum |available )?context (?:length|size|window)\b|\bcontext (?:length|size|window) (?:has been |was |is )?exceeded\b|` +
		`\bwhen context the overflows\b|\bcontext (?:the )?overflows\b|\breached context length\b|\bgreater than the context length\b|\bcontext length of only\b|` +
		`\btoken count\b.{0,30}\bexceeds the (?:maximum|limit)|\btoo large for model with\b|\bmaximum prompt length\b|` +
		`\breduce the length of the messages\b|\binput is too long\b|\binput (?:text )?too long\b|\bmax_new_tokens. must be <=|` +
		`\bexceeded model token limit\b|\btoo many (?:input )?tokens\b`)

	filterText = lazy(`content_filter|content[ _]policy|content filter|contentfilter|responsibleaipolicy|content management policy|` +
		`\bsafety system\b|moderation_blocked|\brequires moderation\b|\binput was flagged\b|\bflagged\b.{0,40}\bmoderation\b|prohibited_content|` +
		`content exists risk|data_inspection_failed|\busage polic(?:y|ies)\b|cyber_policy|\bblocked by\b.{0,40}\b(?:safety|policy)\b`)

	// A missing feature needs both: the feature's name, and that it is missing.
	// "Invalid schema for function x" names a feature, and is the caller's own
	// mistake all the same.
	featureText = lazy(`\btools?\b|\btool[_ ](?:choice|use|calls?|calling)\b|\bfunction[_ ]?(?:s|call(?:s|ing)?)?\b|\bimages?\b|image_url|\bvision\b|\bmultimodal\b|` +
		`\bmmproj\b|\bthinking\b|\breasoning|\bschema\b|json_schema|response_format|structured[_ ]outputs?|output_config|\bgrammar\b|\bprefill|\bassistant (?:response )?prefix\b|` +
		`\bdocuments?\b|\bpdf\b|\bfile part`)
	missingText = lazy(`\b(?:not|n't|no|cannot|without) (?:\w+ )?(?:support|supported|available|enabled|implemented)\b|\b(?:does|do|is|are|can)(?: not|n't) (?:\w+ ){0,2}(?:support|supported|available|enabled|implemented)\b|` +
		`\bunsupported\b|\bthat support\b|\brequires? --|\brequires? the --|\bincompatible\b|\bextra inputs are not permitted\b|\bunknown (?:variant|field|parameter|name)\b|\bunrecognized\b|` +
		`\bmissing data required\b|\bunexpected keyword\b|\bnot (?:a )?multimodal\b`)
	// lastTurn is how servers without prefill refuse it without naming it.
	lastTurn = lazy(`\bexpected last role\b|\bmust end with a user message\b|\bassistant messages at the end\b`)
)

// has reports whether the type is one of the words, each of which is lower case.
func (r report) has(words ...string) bool {
	return slices.Contains(words, strings.ToLower(r.Type))
}

// missingFeature reports whether the text says that the provider lacks
// something that another one may have.
func (r report) missingFeature() bool {
	return lastTurn().MatchString(r.all) || featureText().MatchString(r.all) && missingText().MatchString(r.all)
}
