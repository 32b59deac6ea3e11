package fake

import (
	"fmt"
	"strings"
)

// writer puts an answer in the frames of a wire. They are templates, with the
// keys in the order in which the real servers write them.
type writer struct {
	r       Request
	ollama  bool
	created int64
}

func (w writer) body(a answer) []byte {
	if w.r.Kind == Messages {
		return w.messagesBody(a)
	}
	return w.chatBody(a)
}

func (w writer) frames(a answer) []frame {
	if w.r.Kind == Messages {
		return w.messagesFrames(a)
	}
	return w.chatFrames(a)
}

func (w writer) id(prefix string) string { return fmt.Sprintf("%sfake%08d", prefix, w.r.N) }

func (w writer) callID(prefix string, i int) string {
	return fmt.Sprintf("%sfake%08d_%d", prefix, w.r.N, i)
}

// signature stands for the vendor's proof of a thinking block.
const signature = "ZmFrZS1zaWduYXR1cmU="

// Anthropic Messages

func (w writer) messagesBody(a answer) []byte {
	var blocks []string
	add := func(f string, args ...any) { blocks = append(blocks, fmt.Sprintf(f, args...)) }
	if a.thinking != "" {
		add(`{"type":"thinking","thinking":%s,"signature":%s}`, quote(a.thinking), quote(signature))
	}
	if text := strings.Join(a.pieces, ""); text != "" {
		add(`{"type":"text","text":%s}`, quote(text))
	}
	for i, c := range a.calls {
		add(`{"type":"tool_use","id":%s,"name":%s,"input":%s}`, quote(w.callID("toolu_", i)), quote(c.Name), c.Args)
	}
	sequence := `"stop_sequence":null,`
	if w.ollama {
		sequence = ""
	}
	usage := ""
	if a.usage != nil {
		usage = `,"usage":` + w.messagesUsage(*a.usage)
	}
	return format(`{"id":%s,"type":"message","role":"assistant","model":%s,"content":[%s],%s"stop_reason":%s%s}`,
		quote(w.id("msg_")), quote(w.r.Model), strings.Join(blocks, ","), sequence, quote(a.stop), usage)
}

func (w writer) messagesFrames(a answer) []frame {
	var out []frame
	add := func(f frame, event, data string, args ...any) {
		f.bytes = format("event: %s\ndata: %s\n\n", event, fmt.Sprintf(data, args...))
		out = append(out, f)
	}
	usage := ""
	if a.usage != nil || w.ollama {
		u := a.first
		u.Output = 1
		usage = `,"usage":` + w.messagesUsage(u)
	}
	add(frame{}, "message_start", `{"type":"message_start","message":{"id":%s,"type":"message","role":"assistant","model":%s,"content":[],"stop_reason":null,"stop_sequence":null%s}}`,
		quote(w.id("msg_")), quote(w.r.Model), usage)

	index := 0
	block := func(start string, deltas ...string) {
		add(frame{}, "content_block_start", `{"type":"content_block_start","index":%d,"content_block":%s}`, index, start)
		if index == 0 && !w.ollama {
			add(frame{}, "ping", `{"type":"ping"}`)
		}
		for _, d := range deltas {
			add(frame{content: true}, "content_block_delta", `{"type":"content_block_delta","index":%d,"delta":%s}`, index, d)
		}
		add(frame{}, "content_block_stop", `{"type":"content_block_stop","index":%d}`, index)
		index++
	}
	if a.thinking != "" {
		var ds []string
		for _, p := range strings.SplitAfter(a.thinking, " ") {
			ds = append(ds, fmt.Sprintf(`{"type":"thinking_delta","thinking":%s}`, quote(p)))
		}
		block(`{"type":"thinking","thinking":"","signature":""}`, append(ds, fmt.Sprintf(`{"type":"signature_delta","signature":%s}`, quote(signature)))...)
	}
	if strings.Join(a.pieces, "") != "" {
		var ds []string
		for _, p := range a.pieces {
			ds = append(ds, fmt.Sprintf(`{"type":"text_delta","text":%s}`, quote(p)))
		}
		block(`{"type":"text","text":""}`, ds...)
	}
	for i, c := range a.calls {
		var ds []string
		for _, p := range w.argPieces(c.Args) {
			ds = append(ds, fmt.Sprintf(`{"type":"input_json_delta","partial_json":%s}`, quote(p)))
		}
		block(fmt.Sprintf(`{"type":"tool_use","id":%s,"name":%s,"input":{}}`, quote(w.callID("toolu_", i)), quote(c.Name)), ds...)
	}

	usage = `,"usage":{"output_tokens":0}`
	if a.usage != nil {
		usage = `,"usage":` + w.messagesUsage(*a.usage)
	}
	add(frame{closing: true}, "message_delta", `{"type":"message_delta","delta":{"stop_reason":%s,"stop_sequence":null}%s}`, quote(a.stop), usage)
	add(frame{closing: true, mark: true}, "message_stop", `{"type":"message_stop"}`)
	return out
}

func (w writer) messagesUsage(u Usage) string {
	if w.ollama {
		return fmt.Sprintf(`{"input_tokens":%d,"output_tokens":%d}`, u.Input, u.Output)
	}
	return fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d}`,
		u.Input, u.CacheWrite, u.CacheRead, u.Output)
}

// argPieces cuts arguments as a vendor streams them: an empty piece, then
// runs of a few characters. Ollama tells them at once.
func (w writer) argPieces(args string) []string {
	if w.ollama {
		return []string{args}
	}
	out := []string{""}
	runes := []rune(args)
	for len(runes) > 0 {
		n := min(8, len(runes))
		out = append(out, string(runes[:n]))
		runes = runes[n:]
	}
	return out
}

// OpenAI Chat Completions

var chatStops = map[string]string{
	"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length",
	"tool_use": "tool_calls", "refusal": "content_filter",
}

func chatStop(stop string) string {
	if s, ok := chatStops[stop]; ok {
		return s
	}
	return stop
}

// reasoningKey is the field that tells thinking: there is no standard one.
func (w writer) reasoningKey() string {
	if w.ollama {
		return "reasoning"
	}
	return "reasoning_content"
}

func (w writer) fingerprint() string {
	if w.ollama {
		return `"fp_ollama"`
	}
	return `"fp_fake"`
}

func (w writer) chatBody(a answer) []byte {
	content := "null"
	if text := strings.Join(a.pieces, ""); text != "" || len(a.calls) == 0 {
		content = quote(text)
	}
	extra := ""
	if a.thinking != "" {
		extra += fmt.Sprintf(`,%s:%s`, quote(w.reasoningKey()), quote(a.thinking))
	}
	if len(a.calls) > 0 {
		var calls []string
		for i, c := range a.calls {
			index := ""
			if w.ollama {
				index = fmt.Sprintf(`"index":%d,`, i)
			}
			calls = append(calls, fmt.Sprintf(`{"id":%s,%s"type":"function","function":{"name":%s,"arguments":%s}}`, quote(w.callID("call_", i)), index, quote(c.Name), quote(c.Args)))
		}
		extra += `,"tool_calls":[` + strings.Join(calls, ",") + `]`
	}
	if !w.ollama {
		extra += `,"refusal":null,"annotations":[]`
	}
	logprobs := `"logprobs":null,`
	if w.ollama {
		logprobs = ""
	}
	usage := ""
	if a.usage != nil {
		usage = `,"usage":` + w.chatUsage(*a.usage)
	}
	return format(`{"id":%s,"object":"chat.completion","created":%d,"model":%s,"system_fingerprint":%s,"choices":[{"index":0,"message":{"role":"assistant","content":%s%s},%s"finish_reason":%s}]%s}`,
		quote(w.id("chatcmpl-")), w.created, quote(w.r.Model), w.fingerprint(), content, extra, logprobs, quote(chatStop(a.stop)), usage)
}

func (w writer) chatFrames(a answer) []frame {
	var out []frame
	// Only who asked for usage gets the key at all; a vendor then tells null
	// in all chunks but the last.
	pending := ""
	if w.r.WantUsage && !w.ollama {
		pending = `,"usage":null`
	}
	chunk := func(f frame, choices, usage string) {
		f.bytes = format("data: {\"id\":%s,\"object\":\"chat.completion.chunk\",\"created\":%d,\"model\":%s,\"system_fingerprint\":%s,\"choices\":[%s]%s}\n\n",
			quote(w.id("chatcmpl-")), w.created, quote(w.r.Model), w.fingerprint(), choices, usage)
		out = append(out, f)
	}
	delta := func(f frame, fields, finish string) {
		if w.ollama && !strings.HasPrefix(fields, `"role"`) {
			role := `"role":"assistant"`
			if !strings.Contains(fields, `"content"`) {
				role += `,"content":""`
			}
			if fields != "" {
				role += ","
			}
			fields = role + fields
		}
		logprobs := `"logprobs":null,`
		if w.ollama {
			logprobs = ""
		}
		chunk(f, fmt.Sprintf(`{"index":0,"delta":{%s},%s"finish_reason":%s}`, fields, logprobs, finish), pending)
	}

	if !w.ollama {
		content := `""`
		if len(a.calls) > 0 && strings.Join(a.pieces, "") == "" {
			content = "null"
		}
		delta(frame{}, `"role":"assistant","content":`+content+`,"refusal":null`, "null")
	}
	if a.thinking != "" {
		for _, p := range strings.SplitAfter(a.thinking, " ") {
			delta(frame{content: true}, quote(w.reasoningKey())+":"+quote(p), "null")
		}
	}
	for _, p := range a.pieces {
		if p != "" {
			delta(frame{content: true}, `"content":`+quote(p), "null")
		}
	}
	for i, c := range a.calls {
		for j, p := range w.argPieces(c.Args) {
			if j == 0 {
				delta(frame{content: true}, fmt.Sprintf(`"tool_calls":[{"index":%d,"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}]`,
					i, quote(w.callID("call_", i)), quote(c.Name), quote(p)), "null")
				continue
			}
			delta(frame{content: true}, fmt.Sprintf(`"tool_calls":[{"index":%d,"function":{"arguments":%s}}]`, i, quote(p)), "null")
		}
	}
	delta(frame{closing: true}, "", quote(chatStop(a.stop)))
	if w.r.WantUsage && a.usage != nil {
		chunk(frame{closing: true}, "", `,"usage":`+w.chatUsage(*a.usage))
	}
	out = append(out, frame{bytes: []byte("data: [DONE]\n\n"), closing: true, mark: true})
	return out
}

func (w writer) chatUsage(u Usage) string {
	prompt := u.Input + u.CacheRead + u.CacheWrite
	if w.ollama {
		return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, prompt, u.Output, prompt+u.Output)
	}
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		prompt, u.Output, prompt+u.Output, u.CacheRead, u.Reasoning)
}

// errors

func anthropicError(errType, message, id string) []byte {
	return format(`{"type":"error","error":{"type":%s,"message":%s},"request_id":%s}`, quote(errType), quote(message), quote(id))
}

func chatError(errType, code, message string) []byte {
	c := "null"
	if code != "" {
		c = quote(code)
	}
	return format(`{"error":{"message":%s,"type":%s,"param":null,"code":%s}}`, quote(message), quote(errType), c)
}

// chatErrorType is OpenAI's word for what Anthropic calls errType.
func chatErrorType(errType string) string {
	switch errType {
	case "api_error", "overloaded_error", "timeout_error":
		return "server_error"
	case "authentication_error", "request_too_large":
		return "invalid_request_error"
	case "rate_limit_error":
		return "requests"
	case "billing_error":
		return "insufficient_quota"
	default:
		return errType
	}
}

// errorBody is an error inside a 200 that is not streamed.
func errorBody(k Kind, f fault) []byte {
	if k == Messages {
		return format(`{"type":"error","error":{"type":%s,"message":%s}}`, quote(f.errType), quote(f.text))
	}
	return chatError(f.errType, "", f.text)
}

// errorFrame is an error inside a stream.
func errorFrame(k Kind, f fault) []byte {
	if k == Messages {
		return format("event: error\ndata: %s\n\n", errorBody(k, f))
	}
	return format("data: %s\n\n", errorBody(k, f))
}
