package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	driversqlite "modernc.org/sqlite"
)

// conn is a connection that one goroutine owns. It is the driver's own,
// without the pool of database/sql: that costs a lock and a copy of the
// arguments per statement, which is a third of what an append costs.
type conn struct {
	c     driver.Conn
	stmts []*stmt
}

// dsn returns the address of a database file with the pragmas that each
// connection runs first, in order.
func dsn(path, mode string, pragmas ...string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	q := url.Values{
		"mode":    {mode},
		"_pragma": pragmas,
		// Open errors say what happened and not what happened before.
		"_error_rc": {"1"},
	}
	if mode == "immutable" {
		q["mode"], q["immutable"] = []string{"ro"}, []string{"1"}
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: q.Encode()}
	return u.String(), nil
}

// writerPragmas is how both files are written. auto_vacuum must stand before
// the first table, and before the change to WAL. FULL syncs the log at each
// commit: a commit that returned survives the loss of power.
func writerPragmas() []string {
	return []string{
		"busy_timeout(5000)",
		"auto_vacuum(incremental)",
		"journal_mode(wal)",
		"synchronous(full)",
		"foreign_keys(on)",
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages),
		fmt.Sprintf("journal_size_limit(%d)", 4*checkpointPages*4096),
		"temp_store(memory)",
		"cache_size(-8192)",
	}
}

// readerPragmas is how readers look. query_only stands beside mode=ro so that
// a statement that would write says so.
func readerPragmas() []string {
	return []string{"busy_timeout(5000)", "query_only(on)", "temp_store(memory)", "cache_size(-2048)"}
}

// checkpointPages bounds the log: at 8 MiB the writer moves it into the
// database. Smaller, and a busy journal syncs the database file several times
// a second; larger, and the commit that does it is late by more.
const checkpointPages = 2048

func openConn(path string) (*conn, error) { return openWith(path, "rw", writerPragmas()...) }

// openWith opens a connection for one goroutine. The mode "immutable" reads a
// file that nobody writes, without a lock and without files beside it.
func openWith(path, mode string, pragmas ...string) (*conn, error) {
	name, err := dsn(path, mode, pragmas...)
	if err != nil {
		return nil, err
	}
	c, err := (&driversqlite.Driver{}).Open(name)
	if err != nil {
		return nil, err
	}
	return &conn{c: c}, nil
}

// exec runs a script.
func (c *conn) exec(script string) error {
	_, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), script, nil)
	return err
}

// int returns the one number that a query gives.
func (c *conn) int(query string) (int64, error) {
	v, err := c.value(query)
	n, ok := v.(int64)
	if err == nil && !ok {
		err = fmt.Errorf("%s: %v is no number", query, v)
	}
	return n, err
}

// value returns the first column of the first row that a query gives.
func (c *conn) value(query string) (driver.Value, error) {
	rows, err := c.c.(driver.QueryerContext).QueryContext(context.Background(), query, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil {
		return nil, err
	}
	return row[0], nil
}

func (c *conn) prepare(query string) (*stmt, error) {
	s, err := c.c.Prepare(query)
	if err != nil {
		return nil, err
	}
	st := &stmt{s: s}
	c.stmts = append(c.stmts, st)
	return st, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// stmt is a prepared statement of a conn; its arguments' memory is used again
// at each call.
type stmt struct {
	s    driver.Stmt
	args []driver.NamedValue
}

func (s *stmt) bind(args []driver.Value) []driver.NamedValue {
	s.args = s.args[:0]
	for i, v := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.args
}

// run executes the statement; it returns how many rows changed and the last
// row that was inserted.
func (s *stmt) run(args ...driver.Value) (changed, inserted int64, err error) {
	res, err := s.s.(driver.StmtExecContext).ExecContext(context.Background(), s.bind(args))
	if err != nil {
		return 0, 0, err
	}
	if changed, err = res.RowsAffected(); err != nil {
		return 0, 0, err
	}
	inserted, err = res.LastInsertId()
	return changed, inserted, err
}

// row reads the first row of the result into dst and says whether there was
// one.
func (s *stmt) row(dst []driver.Value, args ...driver.Value) (bool, error) {
	rows, err := s.s.(driver.StmtQueryContext).QueryContext(context.Background(), s.bind(args))
	if err != nil {
		return false, err
	}
	err = rows.Next(dst)
	if cerr := rows.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// null stores an empty text as NULL, which costs no byte.
func null(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}
