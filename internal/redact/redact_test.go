package redact

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestForms(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"an OpenAI key", "key sk-proj-abcdefghij1234567890 was refused", "key [redacted] was refused"},
		{"an Anthropic key", "sk-ant-api03-AbC_dEf-012345", "[redacted]"},
		{"a Groq key", `{"k":"gsk_abcdefghijkl"}`, `{"k":"[redacted]"}`},
		{"an xAI key", "xai-abcdefghijkl.", "[redacted]."},
		{"a Google key", "AIzaSyA-1234567890abcdefghijk", "[redacted]"},
		{"a key behind an escaped line break", `{"m":"see:\nsk-abcdefghijkl"}`, `{"m":"see:\n[redacted]"}`},
		{"a key behind a percent escape", "u=%22sk-abcdefghijkl%22", "u=%22[redacted]%22"},
		{"a key behind a JSON escape", `\u0022sk-abcdefghijkl\u0022`, `\u0022[redacted]\u0022`},
		{"a bearer token", "Authorization: Bearer abc123def", "Authorization: Bearer [redacted]"},
		{"a bearer token alone", "sent bearer a1b2c3d4 to host", "sent bearer [redacted] to host"},
		{"a header in JSON", `{"X-Api-Key":"whatever","a":1}`, `{"X-Api-Key":"[redacted]","a":1}`},
		{"a header in JSON in JSON", `"{\"x-api-key\":\"whatever\"}"`, `"{\"x-api-key\":\"[redacted]\"}"`},
		{"a header as Go prints it", "map[X-Api-Key:[whatever] Via:[a]]", "map[X-Api-Key:[[redacted]] Via:[a]]"},
		{"basic credentials", "authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted]"},
		{"a query parameter", "https://h/p?key=abc&x=1", "https://h/p?key=[redacted]&x=1"},
		{"another query parameter", "https://h/p?x=1&api_key=abc#f", "https://h/p?x=1&api_key=[redacted]#f"},
		{"an assignment", "OPENAI_API_KEY=abc", "OPENAI_API_KEY=[redacted]"},
		{"a password in a URL", "postgres://me:s3cret@db:5432/x", "postgres://me:[redacted]@db:5432/x"},
		{"a password with @ and :", "http://u:p@s:s@host/", "http://u:[redacted]@host/"},
		{"a web token", "t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln;", "t=[redacted];"},
		{"cookies", "Cookie: a=b; session=c\r\nHost: h", "Cookie: [redacted]\r\nHost: h"},

		{"prose about bearers", "missing bearer authentication", "missing bearer authentication"},
		{"prose that ends with a bearer", "Send a bearer token.", "Send a bearer token."},
		{"a word with sk- inside", "task-force-of-many-people", "task-force-of-many-people"},
		{"a short sk-", "sk-learn is a library", "sk-learn is a library"},
		{"a reference", "Authorization: env:TOKEN", "Authorization: env:TOKEN"},
		{"a port", "http://127.0.0.1:3739/v1", "http://127.0.0.1:3739/v1"},
		{"a user without a password", "ssh://git@host/x", "ssh://git@host/x"},
		{"an attribute called key", "provider=a key=b", "provider=a key=b"},
		{"base64 of JSON that is no token", "eyJhIjoxfQ==", "eyJhIjoxfQ=="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r *Redactor
			if got := r.String(tt.in); got != tt.want {
				t.Errorf("String(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
			if got := New().Bytes([]byte(tt.in)); string(got) != tt.want {
				t.Errorf("Bytes(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
			if again := r.String(tt.want); again != tt.want {
				t.Errorf("a second time: %q", again)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	const odd = "a/b\"c\\d%e+é\n😀z"
	r := New("correct horse", odd, "short", "hunter22\n", "[redacted", "horse battery")
	once, _ := json.Marshal(odd)
	twice, _ := json.Marshal(string(once))
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "x correct horse y", "x [redacted] y"},
		{"overlapping", "correct horse battery", "[redacted]"},
		{"as a query", "q=" + url.QueryEscape("correct horse"), "q=[redacted]"},
		{"as a path", "/" + url.PathEscape("correct horse"), "/[redacted]"},
		{"escaped for no reason", `\u0063orrec%74\u0020horse`, "[redacted]"},
		{"escaped twice in a URL", "%2563orrect%2520horse", "[redacted]"},
		{"with the line break of its file", "pw=hunter22", "pw=[redacted]"},
		{"odd, plain", "<" + odd + ">", "<[redacted]>"},
		{"odd, as JSON", string(once), `"[redacted]"`},
		{"odd, as JSON in JSON", string(twice), `"\"[redacted]\""`},
		{"odd, as ASCII", `a\/b\u0022c\\d%e+\u00e9\n\uD83D\ude00z`, "[redacted]"},
		{"odd, as a query", url.QueryEscape(odd), "[redacted]"},
		{"odd, as a query in lower case", strings.ToLower(url.QueryEscape(odd)), "[redacted]"},
		{"too short to be looked for", "short", "short"},
		{"the mask itself", "[redacted]", "[redacted]"},
		{"the beginning of it", "correct hors", "correct hors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := r.String(tt.in); got != tt.want {
				t.Errorf("String(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

// A form may end in the middle of a known secret; the rest must go too.
func TestFormWithinKnown(t *testing.T) {
	r := New("abc;def-ghi,jkl")
	if got, want := r.String("x-api-key: abc;def-ghi,jkl!"), "x-api-key: [redacted]!"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBytesLeavesItsArgument(t *testing.T) {
	in := []byte("x sk-abcdefghijkl y")
	keep := string(in)
	r := New("abcdefgh")
	if out := r.Bytes(in); string(in) != keep || string(out) != "x [redacted] y" {
		t.Errorf("in %q, out %q", in, out)
	}
	clean := []byte("nothing here")
	if out := r.Bytes(clean); &out[0] != &clean[0] {
		t.Error("a text without secrets was copied")
	}
}

// TestNoSpellingLeaks spells a secret character by character, each in a way
// drawn at random, as no encoder would and some chain of them might.
func TestNoSpellingLeaks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := strings.TrimSpace(rapid.StringOfN(rapid.RuneFrom([]rune(`abcXYZ09-_./+=%"\ &<é😀`)), 8, 24, -1).Draw(t, "secret"))
		if len(secret) < minSecret {
			t.Skip()
		}
		var in strings.Builder
		for _, c := range secret {
			switch rapid.IntRange(0, 4).Draw(t, "how") {
			case 0:
				for _, b := range []byte(string(c)) {
					fmt.Fprintf(&in, "%%%02X", b)
				}
			case 1:
				j, _ := json.Marshal(string(c))
				in.Write(j[1 : len(j)-1])
			case 2:
				if c < 0x10000 {
					fmt.Fprintf(&in, `\u%04x`, c)
					break
				}
				in.WriteRune(c)
			default:
				in.WriteRune(c)
			}
		}
		before, after := "{<", ">}"
		if got := New(secret).String(before + in.String() + after); got != before+Mask+after {
			t.Errorf("secret %q spelled %q leaves %q", secret, in.String(), got)
		}
	})
}

func FuzzRedact(f *testing.F) {
	for _, s := range []string{"correct horse", `\u0063orrect horse`, "Bearer sk-abcdefghijkl", "http://a:b@c", "eyJabcde.eyJabc.x", "?key=[redacted]", "x-api-key:[x]", "cookie:[redacted", "%63%6frrect%20horse", "sk-sk-sk-sk-sk-", `\\\\\\`} {
		f.Add(s)
	}
	secrets := []string{"correct horse", `pa"ss\wo/rd`, "[redacted]tail", "]bracket"}
	r := New(secrets...)
	f.Fuzz(func(t *testing.T, s string) {
		got := r.String(s)
		if again := r.String(got); again != got {
			t.Errorf("String is not idempotent:\n   in %q\n once %q\ntwice %q", s, got, again)
		}
		if b := r.Bytes([]byte(s)); string(b) != got {
			t.Errorf("Bytes(%q) = %q, String gives %q", s, b, got)
		}
		for _, secret := range secrets[:2] {
			if strings.Contains(got, secret) {
				t.Errorf("%q is still in %q", secret, got)
			}
		}
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q became invalid UTF-8: %q", s, got)
		}
	})
}

// Texts that are nothing but beginnings of secrets must not cost the square of
// their length: at a quarter of a megabyte that would not end in the time that
// a test has.
func TestHostileTextsEnd(t *testing.T) {
	r := New("correct horse", strings.Repeat(`\`, 20), strings.Repeat("%", 20))
	for _, unit := range []string{"sk-", "eyJ-", "eyJ", "://", "://a:", "bearer ", "api_key ", "api_key=", "cookie:", `\`, "%", "%25", `\u`, "?key=", "a@"} {
		r.String(strings.Repeat(unit, 1<<18/len(unit)))
	}
}

func text(n int) string {
	words := strings.Fields("The daemon takes each request down a chain of providers, local first; {\"model\":\"tiny\",\"messages\":[]} skips a bearer of bad news.")
	rng := rand.New(rand.NewSource(1))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[rng.Intn(len(words))] + " ")
	}
	return b.String()
}

func BenchmarkClean(b *testing.B) {
	r := New("sk-ant-0123456789abcdef", "gsk_0123456789abcdef", "correct horse battery", "another secret", "hunter22")
	s := text(64 << 10)
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		r.String(s)
	}
}

func BenchmarkCleanBytes(b *testing.B) {
	r := New("sk-ant-0123456789abcdef", "gsk_0123456789abcdef", "correct horse battery", "another secret", "hunter22")
	s := []byte(text(64 << 10))
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		r.Bytes(s)
	}
}
