package openai

import (
	"strconv"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// readUsage reads a usage object. ok is false for null and for anything that is
// no object. The wire counts cached tokens into prompt_tokens; they are taken
// out here.
func readUsage(s *scan.Scanner) (u wire.Usage, ok bool) {
	if s.Kind() != scan.Object {
		return u, false
	}
	for key := range s.Fields() {
		switch string(key) {
		case "prompt_tokens":
			u.Input = wire.Tokens(s)
		case "completion_tokens":
			u.Output = wire.Tokens(s)
		case "prompt_cache_hit_tokens": // DeepSeek's place for cached_tokens
			u.CacheRead = max(u.CacheRead, wire.Tokens(s))
		case "prompt_tokens_details":
			for key := range s.Fields() {
				if string(key) == "cached_tokens" {
					u.CacheRead = max(u.CacheRead, wire.Tokens(s))
				}
			}
		case "completion_tokens_details":
			for key := range s.Fields() {
				if string(key) == "reasoning_tokens" {
					u.Reasoning = wire.Tokens(s)
				}
			}
		}
	}
	u.CacheRead = min(u.CacheRead, u.Input)
	u.Reasoning = min(u.Reasoning, u.Output)
	u.Input -= u.CacheRead
	return u, true
}

func appendUsage(dst []byte, u wire.Usage) []byte {
	prompt := u.Input + u.CacheRead + u.CacheWrite
	dst = append(dst, `{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, int64(prompt), 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Output), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(prompt+u.Output), 10)
	dst = append(dst, `,"prompt_tokens_details":{"cached_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CacheRead), 10)
	dst = append(dst, '}')
	if u.Reasoning > 0 {
		dst = append(dst, `,"completion_tokens_details":{"reasoning_tokens":`...)
		dst = strconv.AppendInt(dst, int64(u.Reasoning), 10)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}
