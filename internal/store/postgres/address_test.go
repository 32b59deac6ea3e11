package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestScrub: a text with the password in it is changed, and stays the error
// that it was.
func TestScrub(t *testing.T) {
	at, err := parse("postgres://u:hunter2@h:77/d?search_path=s", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got := at.String(); got != "h:77/d schema s" {
		t.Errorf("%q", got)
	}
	cause := &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: stateSerialization, Message: "near hunter2"}
	told := at.explain("append", fmt.Errorf("%w: %w", errLost, cause))
	if !errors.Is(told, errLost) || !conflict(told) {
		t.Errorf("%v is not what it was", told)
	}
	for err := told; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("the password is in %q", err)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		url, schema string
		timeout     time.Duration
	}{
		{"postgres://u@h/d", DefaultSchema, connectFor},
		{"postgresql://u@h/d?search_path=mine&connect_timeout=2", "mine", 2 * time.Second},
	} {
		at, err := parse(tt.url, 1500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		p := at.config.RuntimeParams
		if at.schema != tt.schema || p["search_path"] != tt.schema || p["idle_in_transaction_session_timeout"] != "1500" || at.config.ConnectTimeout != tt.timeout {
			t.Errorf("%s: schema %q, %v, %v", tt.url, at.schema, p, at.config.ConnectTimeout)
		}
	}
}
