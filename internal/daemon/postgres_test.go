package daemon

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/store/postgres"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

const onPostgres = `
version: 1
store: env:DREY_STORE
listen: {addr: "127.0.0.1:0"}
providers: {a: {url: "demo:echo", wire: openai}}
profiles: {default: {chain: [a]}}
lifecycle: {boot_grace: 1ms}
`

// TestPostgreSQL runs a whole daemon on a real server: it serves, journals,
// does its upkeep, keeps others out, and goes on where it stopped.
func TestPostgreSQL(t *testing.T) {
	url := pgtest.URL(t)
	withStore := func(o *Options) {
		o.Env = environment(map[string]string{"DREY_STORE": url})
		o.test.standBy = time.Millisecond
	}
	home := newHome(t, onPostgres)
	h := openAt(t, home, withStore)
	if a := h.chat("hello"); a.status != http.StatusOK {
		t.Fatalf("%+v", a)
	}
	before, err := h.control().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.Journal.Store != "env:DREY_STORE" || before.Journal.Head == 0 {
		t.Errorf("status: %+v", before.Journal)
	}
	slept, err := h.control().Sleep(t.Context(), api.Sleep{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	skipped := map[string]bool{}
	for _, s := range slept.Steps {
		skipped[s.Name] = s.Skipped != ""
	}
	if len(slept.Steps) != SleepSteps || !skipped["checkpoint"] || !skipped["backup"] || skipped["verify"] || skipped["retention"] {
		t.Errorf("the sleep cycle: %+v", slept.Steps)
	}

	// Another home on the same schema waits, and is told who has it.
	o := options(newHome(t, onPostgres))
	withStore(&o)
	if err := Run(t.Context(), o); !errors.Is(err, postgres.ErrHeld) || !strings.Contains(err.Error(), home) {
		t.Errorf("a second drey: %v", err)
	}

	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.home.DB()); err == nil {
		t.Error("there is a drey.db beside PostgreSQL")
	}
	if strings.Contains(h.log.String(), url) {
		t.Error("the log holds the address of the store")
	}
	h = openAt(t, home, withStore)
	after, err := h.control().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Journal.Epoch <= before.Journal.Epoch || after.Journal.Head <= before.Journal.Head || after.Requests.Total != 1 {
		t.Errorf("before %+v, after %+v %+v", before.Journal, after.Journal, after.Requests)
	}
}

func TestPostgreSQLThatIsNotThere(t *testing.T) {
	for value, want := range map[string]string{
		"": "the secret env:DREY_STORE is missing", "mysql://me:hush@db/x": "not a store that drey knows",
		"postgres://me:hush@127.0.0.1:1/x?connect_timeout=1": "127.0.0.1",
	} {
		o := options(newHome(t, onPostgres))
		o.Env = environment(map[string]string{"DREY_STORE": value})
		err := Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", value, err)
		}
	}
}
