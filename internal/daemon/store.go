package daemon

import (
	"context"
	"fmt"
	"net/url"

	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// standBy is how long a start waits for the store of another drey: long enough
// for the lease of one that has died to run out. One that lives keeps its store;
// whoever keeps us up tries again.
const standBy = 2 * postgres.DefaultTTL

// kept is a store that can give memory back.
type kept interface {
	store.Store
	Relax()
}

// openStore opens what the configuration names. url is empty for the embedded
// store.
func (d *Daemon) openStore(ctx context.Context, url string) (kept, error) {
	if url == "" {
		return sqlite.Open(ctx, sqlite.Options{Path: d.home.DB(), Lock: d.lock, Log: d.log, Fatal: d.fatal})
	}
	return postgres.Open(ctx, postgres.Options{
		URL: url, Holder: postgres.Holder(d.home.Root()), Wait: orElse(d.opts.test.standBy, standBy), Log: d.log,
		Fatal: d.fatal, Lost: d.fatal, // the next process reads what is true, whoever runs it
	})
}

// storeURL resolves the address of the store; "" is the embedded one.
func (c *compiler) storeURL(s config.Store) (string, error) {
	if s.Embedded() {
		return "", nil
	}
	if s.Secret.IsZero() {
		return s.URL, nil
	}
	text := c.read(s.Secret)
	if text == "" {
		return "", fmt.Errorf("store: the secret %s is missing; set it to a postgres:// URL", s.Secret)
	}
	c.known = append(c.known, text)
	if u, err := url.Parse(text); err == nil {
		if password, ok := u.User.Password(); ok {
			c.known = append(c.known, password)
		}
	}
	if err := config.CheckStoreURL(text); err != nil {
		return "", fmt.Errorf("store: the secret %s holds %w", s.Secret, err)
	}
	return text, nil
}

// storeName is where the journal is, for people; without a secret.
func (d *Daemon) storeName() string {
	if s := d.conf.Load().file.Store; !s.Embedded() {
		return s.String()
	}
	return d.home.DB()
}
