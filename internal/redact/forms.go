package redact

// starts are the bytes that a form begins with, so that text without a secret
// costs one look at each byte; wordNames are the names by the byte they begin
// with.
var starts, wordNames = func() (t [256]bool, byFirst [256][]name) {
	for _, p := range tokens {
		t[p.prefix[0]] = true
	}
	for _, n := range names {
		for _, c := range []byte{n.text[0], n.text[0] - 'a' + 'A'} {
			t[c] = true
			byFirst[c] = append(byFirst[c], n)
		}
	}
	for _, c := range []byte("eBb:?&") { // a web token, bearer, a URL's password and parameters
		t[c] = true
	}
	return t, byFirst
}()

// tokens are the credentials that vendors mark by a prefix. least is the length
// of what follows it.
var tokens = []struct {
	prefix string
	least  int
}{
	{"sk-", 10}, // OpenAI and most who copied it; sk-ant- is Anthropic, sk-or- OpenRouter
	{"gsk_", 10},
	{"xai-", 10},
	{"AIza", 20},
	{"ghp_", 20},
	{"github_pat_", 20},
	{"hf_", 20},
}

// name is a word that has a credential for a value wherever it stands: as a
// header, as a field of a body, as a parameter.
type name struct {
	text string // in lower case
	line bool   // all that follows on the line or in the string is its value
}

var names = []name{
	{"x-api-key", false}, {"x-goog-api-key", false}, {"authorization", false}, {"proxy-authorization", false},
	{"api-key", false}, {"api_key", false}, {"apikey", false}, {"client_secret", false}, {"access_token", false},
	{"cookie", true}, {"set-cookie", true},
}

// parameters have one only in the query of a URL.
var parameters = []string{"key", "token", "sig", "signature", "password"}

// findForm returns the secret that a form at i marks. The span may begin
// behind i: what marks the secret is left to be read.
func findForm[T string | []byte](s T, i int) (span, bool) {
	switch s[i] {
	case ':':
		return userinfo(s, i)
	case '?', '&':
		for _, name := range parameters {
			if at := i + 1 + len(name); hasFold(s, i+1, name) && at < len(s) && s[at] == '=' {
				return value(s, at+1, false)
			}
		}
		return span{}, false
	}
	if !boundary(s, i) {
		return span{}, false
	}
	for _, t := range tokens {
		if hasPrefix(s, i, t.prefix) {
			if end := run(s, i+len(t.prefix), isToken); end-i-len(t.prefix) >= t.least {
				return span{i, end}, true
			}
		}
	}
	if hasPrefix(s, i, "eyJ") && (i == 0 || s[i-1] != '-') {
		return jwt(s, i)
	}
	if hasFold(s, i, "bearer") {
		return bearer(s, i+len("bearer"))
	}
	for _, n := range wordNames[s[i]] {
		if !hasFold(s, i, n.text) {
			continue
		}
		at, ok := assignment(s, i+len(n.text))
		switch {
		case !ok:
			return span{}, false
		case !n.line:
			return value(s, at, true)
		case !hasPrefix(s, at, Mask):
			end := run(s, at, isLine)
			return span{at, end}, end > at
		}
	}
	return span{}, false
}

// boundary reports whether a word may begin at i: what stands before it is no
// letter or digit, or is the end of an escape.
func boundary[T string | []byte](s T, i int) bool {
	if i == 0 || !isAlnum(s[i-1]) {
		return true
	}
	switch {
	case i >= 2 && s[i-2] == '\\':
		return unescape[s[i-1]] != 0
	case i >= 3 && s[i-3] == '%':
		return digit(s[i-2]) >= 0 && digit(s[i-1]) >= 0
	case i >= 6 && s[i-6] == '\\':
		_, end := hex4(s, i-5)
		return end == i
	default:
		return false
	}
}

// userinfo finds the password of scheme://user:password@host, at the colon.
func userinfo[T string | []byte](s T, i int) (span, bool) {
	if !hasPrefix(s, i, "://") {
		return span{}, false
	}
	colon, at := 0, 0
scan:
	for j := i + 3; j < len(s); j++ {
		switch c := s[j]; {
		case c == '@':
			at = j
		case c == ':' && colon == 0:
			colon = j
		case c <= ' ' || c == '/' || c == '?' || c == '#' || c == '"' || c == '\'' || c == '<' || c == '>' || c == '\\':
			break scan
		}
	}
	if colon == 0 || at <= colon+1 || string(s[colon+1:at]) == Mask {
		return span{}, false
	}
	return span{colon + 1, at}, true
}

// jwt finds a JSON Web Token: parts of base64url with dots between them, of
// which the first is an object.
func jwt[T string | []byte](s T, i int) (span, bool) {
	end := run(s, i, isToken)
	parts := 1
	for end < len(s) && s[end] == '.' {
		next := run(s, end+1, isToken)
		if next == end+1 && parts < 2 {
			break
		}
		end = next
		parts++
	}
	return span{i, end}, parts >= 2
}

// bearer finds the token behind the word. A word of letters alone is prose
// ("bearer authentication") unless it is longer than words are.
func bearer[T string | []byte](s T, i int) (span, bool) {
	from := run(s, i, isSpace)
	if from == i {
		return span{}, false
	}
	to := run(s, from, isCredential)
	for to > from && s[to-1] == '.' { // the end of a sentence
		to--
	}
	plain := run(s, from, isLetter) == to
	return span{from, to}, to-from >= 20 || to-from >= 4 && !plain
}

// assignment returns where the value begins that follows a name: behind a
// colon or an equals sign, with quotes, escaped or not, around either.
func assignment[T string | []byte](s T, i int) (int, bool) {
	i = run(s, i, isQuoteOrSpace)
	if i >= len(s) || s[i] != ':' && s[i] != '=' {
		return 0, false
	}
	return run(s, i+1, isQuoteOrSpace), true
}

// value finds a credential that begins at i. A scheme before it is left to be
// read where it may have one.
func value[T string | []byte](s T, i int, scheme bool) (span, bool) {
	if hasPrefix(s, i, Mask) {
		return span{}, false
	}
	if i < len(s) && s[i] == '[' {
		i = run(s, i+1, isQuoteOrSpace)
	}
	if scheme {
		for _, word := range []string{"bearer", "basic", "token", "digest"} {
			if end := i + len(word); hasFold(s, i, word) && end < len(s) && isSpace(s[end]) {
				i = run(s, end, isSpace)
				break
			}
		}
	}
	if hasPrefix(s, i, Mask) || hasPrefix(s, i, "env:") || hasPrefix(s, i, "file:") {
		return span{}, false // a reference says where a secret is
	}
	end := run(s, i, isValue)
	return span{i, end}, end > i
}

func run[T string | []byte](s T, i int, in func(byte) bool) int {
	for i < len(s) && in(s[i]) {
		i++
	}
	return i
}

func hasFold[T string | []byte](s T, i int, lower string) bool {
	if len(s)-i < len(lower) {
		return false
	}
	for k := range len(lower) {
		c := s[i+k]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[k] {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isAlnum(c byte) bool  { return isLetter(c) || '0' <= c && c <= '9' }
func isToken(c byte) bool  { return isAlnum(c) || c == '_' || c == '-' }
func isSpace(c byte) bool  { return c == ' ' || c == '\t' }

func isCredential(c byte) bool {
	return isToken(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='
}

func isQuoteOrSpace(c byte) bool { return isSpace(c) || c == '"' || c == '\'' || c == '\\' }

// isLine reports whether a byte may be part of a value that goes on to the end
// of its line or string.
func isLine(c byte) bool { return c >= ' ' && c != '"' && c != '\\' }

// isValue reports whether a byte may be part of a value that has no mark at
// its end.
func isValue(c byte) bool {
	switch c {
	case '"', '\'', '\\', '[', ']', '{', '}', '<', '>', ',', ';', '&', '#':
		return false
	}
	return c > ' '
}
