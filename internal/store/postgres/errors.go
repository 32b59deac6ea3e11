package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// The codes of the errors of this package; each comes with a hint.
const (
	codeURL         = "store_url"
	codeHeld        = "store_held"
	codeHolder      = "store_holder"
	codeUnavailable = "store_unavailable"
	codeNewer       = "store_newer"
	codeForeign     = "store_foreign"
	codeFull        = "store_full"
	codeDamaged     = "store_damaged"
)

// The conditions of PostgreSQL that the code tells apart (its manual, appendix
// A). CockroachDB and YugabyteDB use the same.
const (
	stateSerialization   = "40001"
	stateDeadlock        = "40P01"
	stateCommitUnknown   = "40003"
	stateDuplicateObject = "42P07" // a table
	stateDuplicateSchema = "42P06"
	stateDuplicateType   = "42710" // that every table has
	stateUnique          = "23505"
	stateDiskFull        = "53100"
	stateConnections     = "53300"
	statePrivilege       = "42501"
	stateNoDatabase      = "3D000"
)

// ErrHeld: another drey holds the lease. The error around it names the holder.
var ErrHeld = errors.New("another drey holds the lease")

var (
	errNewer   = errors.New("the schema was written by a newer drey")
	errForeign = errors.New("the schema has tables of another program")
)

// state returns the SQLSTATE of err, "" if it is none of the server's.
func state(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// answered reports whether the server has said about a statement that it
// failed, so that its transaction is not committed. What a dying connection
// says, and what nobody said, leaves that open.
func answered(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.SeverityUnlocalized == "ERROR" && e.Code != stateCommitUnknown && !strings.HasPrefix(e.Code, "08")
}

// conflict reports whether the same transaction may succeed at once: others
// were in its way.
func conflict(err error) bool {
	code := state(err)
	return code == stateSerialization || code == stateDeadlock
}

// unavailable reports whether err lies with the server or on the way to it, and
// not with what was to be written.
func unavailable(err error) bool {
	for _, known := range []error{store.ErrEpoch, store.ErrUnsettled, store.ErrClosed, store.ErrDamaged} {
		if errors.Is(err, known) {
			return false
		}
	}
	if !answered(err) {
		return true
	}
	// Insufficient resources, operator intervention, a conflict that stayed.
	code := state(err)
	return strings.HasPrefix(code, "53") || strings.HasPrefix(code, "57") || strings.HasPrefix(code, "58") || conflict(err)
}

// explain says what went wrong in one drey.Error, with a hint that says what to
// do. Errors that callers branch on, and those that are explained already, pass.
func (a *address) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*drey.Error](err); ok {
		return err
	}
	for _, known := range []error{store.ErrNotFound, store.ErrVersion, store.ErrEpoch, store.ErrClosed, store.ErrCursor} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	clean := a.scrub(err)
	e := &drey.Error{Class: drey.Resource, Code: codeUnavailable, Op: op, Err: fmt.Errorf("%s: %w", a, clean)}
	switch code := state(err); {
	case errors.Is(err, errNewer):
		e.Class, e.Code = drey.Caller, codeNewer
		e.Hint = "Start the newer drey again, or restore a copy of the database from before it."
	case errors.Is(err, errForeign):
		e.Class, e.Code = drey.Caller, codeForeign
		e.Hint = "Choose another schema with ?search_path=NAME in the URL of the store; drey changes no table that is not its own."
	case errors.Is(err, store.ErrDamaged):
		e.Code = codeDamaged
		e.Hint = "Stop drey and restore the database from a backup of the server."
	case errors.Is(err, store.ErrUnsettled):
		e.Hint = "Start drey again when the database server at " + a.config.Host + " can be reached: the next start reads what is true."
	case code == stateDiskFull:
		e.Code = codeFull
		e.Hint = "Free space on the database server; drey goes on by itself when there is some."
	case code == stateConnections:
		e.Hint = "Raise max_connections of the database server, or close other programs; one drey uses up to six connections."
	case code == statePrivilege:
		e.Hint = "Grant the user of the store's URL the right to create and to write schema " + a.schema + "."
	case code == stateNoDatabase:
		e.Hint = "Create the database " + a.config.Database + " on the server, or name another one in the URL of the store."
	case strings.HasPrefix(code, "28"):
		e.Class = drey.Caller
		e.Hint = "Check the user and the password of the store's URL, and the server's pg_hba.conf."
	case unavailable(err):
		e.Hint = "Check that the database server at " + a.config.Host + " runs and can be reached; drey goes on by itself when it does."
	default:
		e.Hint = "The database server refused this; its log may say more. If the schema is sound, this is a bug of drey."
	}
	return e
}

// held is the error for a lease of somebody else.
func (a *address) held(lease, holder string, left time.Duration) error {
	return &drey.Error{
		Class: drey.Resource, Code: codeHeld, Op: "open store",
		Err:  fmt.Errorf("%s: lease %q is held by %q for another %v: %w", a, lease, holder, left.Round(time.Millisecond), ErrHeld),
		Hint: "Stop the drey " + holder + ", or choose another schema with ?search_path=NAME in the URL of the store; a drey that has died loses the lease when it expires.",
	}
}

// damaged is the error for what contradicts itself.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", store.ErrDamaged, fmt.Errorf(format, args...))
}

// ended returns the error of ctx, if that is what err is about.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
