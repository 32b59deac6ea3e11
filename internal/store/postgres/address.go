package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dreyhq/drey"
)

// DefaultSchema is the schema of a URL that names none.
const DefaultSchema = "drey"

// connectFor bounds one attempt to connect, so that a server that does not
// answer is found out in time to try again. A URL's connect_timeout takes its
// place.
const connectFor = 5 * time.Second

// plainName is a schema's name that needs no quotes, in any of the servers.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// address is where the store is. It prints without the password, and is the
// only holder of it.
type address struct {
	config *pgx.ConnConfig // never changed; each connection gets a copy
	schema string
}

// parse reads a URL. The schema is its search_path; a connection that is idle
// in a transaction for longer than ttl is ended by the server, so that a
// process that has stopped in the middle of one holds nobody up for longer
// than its lease would.
func parse(text string, ttl time.Duration) (*address, error) {
	refuse := func(why string) error {
		return &drey.Error{
			Class: drey.Caller, Code: codeURL, Op: "open store", Err: errors.New(why),
			Hint: "Write the store as postgres://USER@HOST:PORT/DATABASE, with ?search_path=NAME for a schema other than " + DefaultSchema + ".",
		}
	}
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return nil, refuse("the URL of the store does not begin with postgres://")
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		// Its text may quote a part of the URL, and any part of one that cannot
		// be parsed may be the password.
		return nil, refuse("the URL of the store cannot be parsed")
	}
	schema := config.RuntimeParams["search_path"]
	if schema == "" {
		schema = DefaultSchema
	}
	if !plainName.MatchString(schema) {
		return nil, refuse("the search_path of the store is not one plain name of a schema")
	}
	config.RuntimeParams["search_path"] = schema
	config.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(max(ttl.Milliseconds(), 1), 10)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "drey"
	}
	if u, err := url.Parse(text); err != nil || !u.Query().Has("connect_timeout") {
		config.ConnectTimeout = connectFor
	}
	return &address{config, schema}, nil
}

// String names the place for people: host, port, database and schema.
func (a *address) String() string {
	return fmt.Sprintf("%s:%d/%s schema %s", a.config.Host, a.config.Port, a.config.Database, a.schema)
}

// connect opens a connection for one goroutine.
func (a *address) connect(ctx context.Context) (*pgx.Conn, error) {
	return pgx.ConnectConfig(ctx, a.config.Copy())
}

// closeConn ends a connection without waiting for a server that is gone.
func closeConn(c *pgx.Conn) {
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // what was committed is; there is nothing else to lose
}

// scrub hides the password in the text of an error, which no error of the
// driver should have.
func (a *address) scrub(err error) error {
	if err == nil || a.config.Password == "" || !strings.Contains(err.Error(), a.config.Password) {
		return err
	}
	return &scrubbed{strings.ReplaceAll(err.Error(), a.config.Password, "***"), err}
}

// scrubbed is an error whose text was changed. It is what the error is that it
// hides, to errors.Is and errors.As; but it does not unwrap to it, as whoever
// prints a chain would print the password.
type scrubbed struct {
	text   string
	hidden error
}

func (e *scrubbed) Error() string        { return e.text }
func (e *scrubbed) Is(target error) bool { return errors.Is(e.hidden, target) }
func (e *scrubbed) As(target any) bool   { return errors.As(e.hidden, target) }
