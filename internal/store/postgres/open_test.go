package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/backlog"
)

// TestOpenRefuses goes through what can be wrong, what it says to a person, and
// that it never says the password.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	const password = "s3cr3t-9f2"
	o := options(t)
	with := func(change func(u *url.URL, q url.Values)) string {
		u, err := url.Parse(o.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(u.User.Username(), password)
		q := u.Query()
		change(u, q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	same := func(*url.URL, url.Values) {}
	for _, tt := range []struct {
		name   string
		url    string
		before string
		holder string
		code   string
		is     error
		hint   string
	}{
		{name: "no URL", url: password, code: codeURL, hint: "postgres://"},
		{name: "a URL that cannot be parsed", url: "postgres://u:" + password + "%zz@h/d", code: codeURL, hint: "postgres://"},
		{name: "a password in the place of the port", url: "postgres://u:" + password, code: codeURL, hint: "postgres://"},
		{name: "a parameter that cannot be", url: with(func(_ *url.URL, q url.Values) { q.Set("connect_timeout", password) }), code: codeURL, hint: "postgres://"},
		{name: "two schemas", url: with(func(_ *url.URL, q url.Values) { q.Set("search_path", "a,b") }), code: codeURL, hint: "search_path"},
		{name: "nobody there", url: with(func(_ *url.URL, q url.Values) { q.Set("host", "/nonexistent") }), code: codeUnavailable, hint: "/nonexistent"},
		{name: "no such database", url: with(func(u *url.URL, _ url.Values) { u.Path = "/none" }), code: codeUnavailable, hint: "Create the database none"},
		{name: "no such user", url: with(func(u *url.URL, _ url.Values) { u.User = url.UserPassword("nobody", password) }), code: codeUnavailable, hint: "user"},
		{name: "no holder", url: with(same), holder: "-", code: codeHolder, hint: "bug"},
		{
			name: "another program's table", url: with(func(_ *url.URL, q url.Values) { q.Set("search_path", q.Get("search_path")+"_a") }),
			before: `CREATE SCHEMA %[1]s_a; CREATE TABLE %[1]s_a.journal (theirs INT)`, code: codeForeign, is: errForeign, hint: "another schema",
		},
		{
			name: "a newer drey's", url: with(func(_ *url.URL, q url.Values) { q.Set("search_path", q.Get("search_path")+"_b") }),
			before: `CREATE SCHEMA %[1]s_b; CREATE TABLE %[1]s_b.migrated (one INT PRIMARY KEY, step INT); INSERT INTO %[1]s_b.migrated VALUES (1, 99)`,
			code:   codeNewer, is: errNewer, hint: "newer drey",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.before != "" {
				u, err := url.Parse(o.URL)
				if err != nil {
					t.Fatal(err)
				}
				schema := u.Query().Get("search_path")
				script(t, o.URL, fmt.Sprintf(tt.before, schema))
				defer script(t, o.URL, fmt.Sprintf(`DROP SCHEMA IF EXISTS %[1]s_a CASCADE; DROP SCHEMA IF EXISTS %[1]s_b CASCADE`, schema))
			}
			o := Options{URL: tt.url, Holder: "here"}
			if tt.holder != "" {
				o.Holder = ""
			}
			s, err := Open(t.Context(), o)
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			e, ok := errors.AsType[*drey.Error](err)
			if !ok || e.Code != tt.code || !strings.Contains(e.Hint, tt.hint) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v (%+v), hint %q; want code %s", err, e, drey.HintOf(err), tt.code)
			}
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				if text := fmt.Sprintf("%v %+v", cause, drey.HintOf(cause)); strings.Contains(text, password) {
					t.Errorf("the password is in %q", text)
				}
			}
		})
	}
}

// TestOpenTogether: dreys that start at the same moment on an empty database
// make one schema.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	o := options(t)
	var wg sync.WaitGroup
	for i := range 8 {
		o := o
		o.Lease = fmt.Sprint("lease ", i)
		wg.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(add(s, "m", o.Lease), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := open1(t, o)
	if v, err := s.Verify(t.Context(), store.Check{}, nil); err != nil || v.Events != 8 {
		t.Errorf("%+v, %v; want 8 rows", v, err)
	}
}

// TestVerifyFinds: what is wrong is found.
func TestVerifyFinds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, harm, want string }{
		{"a row is missing", `DELETE FROM journal WHERE seq = 2`, "rows 2 to 2"},
		{"the last row is missing", `DELETE FROM journal WHERE seq = 4`, "the head says 4"},
		{"a version is left out", `UPDATE journal SET version = 7 WHERE seq = 3`, "is version 7"},
		{"fields that are no JSON", `UPDATE journal SET fields = '{' WHERE seq = 1`, "row 1"},
		{"a torn snapshot", `UPDATE machines SET snapshot = '{'`, "no JSON"},
		{"a snapshot of the future", `UPDATE machines SET at = 99`, "of row 99"},
		{"a snapshot that does not meet its tail", `UPDATE machines SET version = 1`, "its tail begins with"},
		{"no head", `DELETE FROM head`, "head"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			s := open1(t, o)
			a := store.Append{Machine: "m", ID: "1", Events: []drey.Event{moved("m", "1"), moved("m", "1")}, Snapshot: []byte(`1`)}
			if _, err := s.Append(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := add(s, "m", "1"); err != nil {
					t.Fatal(err)
				}
			}
			script(t, o.URL, tt.harm)
			_, err := s.Verify(t.Context(), store.Check{}, nil)
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), tt.want) || drey.HintOf(err) == "" {
				t.Errorf("%v, hint %q; want %q", err, drey.HintOf(err), tt.want)
			}
		})
	}
}

// TestMended: a request whose caller sent what no text can hold is kept.
func TestMended(t *testing.T) {
	t.Parallel()
	s := open1(t, options(t))
	s.PutRequest(store.RequestRow{ID: "req_\xff", Profile: "a\x00b", Row: []byte("\"\xfe\"")})
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Request(t.Context(), "req_\xff")
	if err != nil || got.Profile != "a\uFFFDb" || string(got.Row) != "\"\uFFFD\"" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestTelemetryTimer: a row is written without anybody asking.
func TestTelemetryTimer(t *testing.T) {
	t.Parallel()
	s := open1(t, options(t))
	began := time.Now()
	s.PutRequest(store.RequestRow{ID: "req_1"})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		_, err := s.Request(t.Context(), "req_1")
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrNotFound) || time.Since(began) > time.Minute {
			t.Fatal(err)
		}
	}
	if waited := time.Since(began); waited < backlog.FlushEvery/2 {
		t.Errorf("written after %v: want it to wait for others", waited)
	}
}
