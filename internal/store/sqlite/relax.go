package sqlite

// idleReaders is how many connections for reading are kept while nobody reads:
// an idle store holds little memory.
const idleReaders = 2

// Relax gives back what is only kept for speed: the idle connections of readers,
// each with its cache of pages. They are made again when they are needed. Who
// reads at the moment is not disturbed.
func (s *Store) Relax() {
	for _, p := range []*pool{s.readers, s.telemetry.readers} {
		p.SetMaxIdleConns(0) // closes them
		p.SetMaxIdleConns(idleReaders)
	}
}
