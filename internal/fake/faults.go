package fake

import "net/http"

// Refused is a closed port. Over a socket it is one only as an outage of a
// Server; one call alone is reset, since its connection stands already.
func Refused() Behaviour { return Behaviour{refused: true} }

// Reset loses the connection before an answer's first byte.
func Reset() Behaviour { how := RST; return Behaviour{lost: &how} }

// Hangup closes the connection before an answer's first byte.
func Hangup() Behaviour { how := FIN; return Behaviour{lost: &how} }

// Silent takes the request and sends nothing until the caller goes away.
func Silent() Behaviour { return Behaviour{silent: true} }

// Status answers with an error in the wire's own form. The type is Anthropic's
// word ("api_error"); chat gets its own.
func Status(status int, errType, message string) Behaviour {
	return Behaviour{plain: &plain{status: status, errType: errType, text: message}}
}

// Raw answers with exactly this.
func Raw(status int, contentType, body string) Behaviour {
	return Behaviour{plain: &plain{status: status, contentType: contentType, body: func(ask) []byte { return []byte(body) }}}
}

// Frames streams exactly these events, each with its own line ends, and ends
// the body properly.
func Frames(frames ...string) Behaviour { return Behaviour{frames: frames} }

// ServerError is a 500.
func ServerError() Behaviour {
	return Status(http.StatusInternalServerError, "api_error", "Internal server error")
}

// Unavailable is a plain 503.
func Unavailable() Behaviour {
	return Status(http.StatusServiceUnavailable, "api_error", "Service temporarily unavailable")
}

// Overloaded is Anthropic's 529.
func Overloaded() Behaviour { return Status(529, "overloaded_error", "Overloaded") }

// RateLimited is a 429; add RetryAfter to tell for how long.
func RateLimited() Behaviour {
	return Status(http.StatusTooManyRequests, "rate_limit_error", "Rate limit reached for requests per minute")
}

// Quota is OpenAI's 429 of an account without credit.
func Quota() Behaviour {
	b := Status(http.StatusTooManyRequests, "insufficient_quota", "You exceeded your current quota, please check your plan and billing details.")
	b.plain.code = "insufficient_quota"
	return b
}

// Unauthorized is a 401.
func Unauthorized() Behaviour {
	b := Status(http.StatusUnauthorized, "authentication_error", "Incorrect API key provided")
	b.plain.code = "invalid_api_key"
	return b
}

// Forbidden is a 403.
func Forbidden() Behaviour {
	return Status(http.StatusForbidden, "permission_error", "Your API key does not have permission to use the specified resource")
}

// PaymentRequired is a 402.
func PaymentRequired() Behaviour {
	return Status(http.StatusPaymentRequired, "billing_error", "Your credit balance is too low")
}

// ModelNotFound is the 404 of a model that the server does not have.
func ModelNotFound() Behaviour {
	return Behaviour{plain: &plain{status: http.StatusNotFound, body: func(a ask) []byte {
		if a.kind == Messages {
			return anthropicError("not_found_error", "model: "+a.model, a.id)
		}
		return chatError("not_found_error", "", "model '"+a.model+"' not found")
	}}}
}

// NotFound is the 404 of a path that the server does not have.
func NotFound() Behaviour { return Raw(http.StatusNotFound, "text/plain", "404 page not found\n") }

// TooLarge is a 413.
func TooLarge() Behaviour {
	return Status(http.StatusRequestEntityTooLarge, "request_too_large", "Request exceeds the maximum size")
}

// ContextLength is the 400 of a prompt that is too long.
func ContextLength(tokens, maximum int) Behaviour {
	return Behaviour{plain: &plain{status: http.StatusBadRequest, body: func(a ask) []byte {
		if a.kind == Messages {
			return anthropicError("invalid_request_error", string(format("prompt is too long: %d tokens > %d maximum", tokens, maximum)), a.id)
		}
		return chatError("invalid_request_error", "context_length_exceeded",
			string(format("This model's maximum context length is %d tokens. However, your messages resulted in %d tokens.", maximum, tokens)))
	}}}
}

// ContentFilter is the 400 of a request that is refused for its content.
func ContentFilter() Behaviour {
	b := Status(http.StatusBadRequest, "invalid_request_error", "The response was filtered due to the prompt triggering the content management policy")
	b.plain.code = "content_filter"
	return b
}

// PrefillRefused is the 400 of a model that does not continue an assistant
// turn.
func PrefillRefused() Behaviour {
	return Status(http.StatusBadRequest, "invalid_request_error", "This model does not support assistant message prefill. The conversation must end with a user message.")
}

// OutOfMemory is the 500 of a backend whose model does not fit.
func OutOfMemory() Behaviour {
	return Status(http.StatusInternalServerError, "api_error", "CUDA error: out of memory")
}

// Loading is the 503 of a backend that is starting.
func Loading() Behaviour {
	b := Status(http.StatusServiceUnavailable, "unavailable_error", "Loading model")
	b.plain.code = "503"
	return b
}

// HTML is a 200 from something that is no model server.
func HTML() Behaviour {
	return Raw(http.StatusOK, "text/html; charset=utf-8", "<!doctype html><html><head><title>Welcome</title></head><body>Sign in</body></html>")
}

// OtherJSON is a 200 with JSON of another shape.
func OtherJSON() Behaviour { return Raw(http.StatusOK, "application/json", `{"status":"ok"}`) }

// Redirect is a 307 to another place.
func Redirect(location string) Behaviour {
	return Raw(http.StatusTemporaryRedirect, "text/plain", "").Header("Location", location)
}
