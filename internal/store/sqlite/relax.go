package sqlite

import "context"

// idleReaders is how many connections for reading are kept while nobody reads:
// an idle store holds little memory.
const idleReaders = 2

// Relax gives back what is only kept for speed: the idle connections of readers,
// each with its cache of pages, and the caches of the two that write. What is
// needed again is read again. Who reads or writes at the moment is not
// disturbed, and the writers are waited for.
func (s *Store) Relax() {
	for _, p := range []*pool{s.readers, s.telemetry.readers} {
		p.SetMaxIdleConns(0) // closes them
		p.SetMaxIdleConns(idleReaders)
	}
	shrink := func(c *conn) (bool, error) { return false, c.exec(`PRAGMA shrink_memory`) }
	// Both fail only where nothing is written any more, which others have told.
	_ = s.inJournal(context.Background(), "relax", shrink)
	_ = s.inTelemetry(context.Background(), "relax", shrink)
}
