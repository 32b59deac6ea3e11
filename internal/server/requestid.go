package server

import (
	"crypto/rand"
	"net/http"

	"github.com/dreyhq/drey"
)

const (
	idPrefix = "req_"
	idLength = 24
	idChars  = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// newRequestID returns an id that nobody can guess and that does not come
// twice: 124 bits.
func newRequestID() drey.RequestID {
	const even = 256 / len(idChars) * len(idChars) // bytes from here on would favour the first characters
	var id [len(idPrefix) + idLength]byte
	n := copy(id[:], idPrefix)
	var random [idLength + 8]byte
	for {
		_, _ = rand.Read(random[:]) // it never fails: the process ends instead
		for _, b := range random {
			if int(b) >= even {
				continue
			}
			id[n] = idChars[int(b)%len(idChars)]
			if n++; n == len(id) {
				return drey.RequestID(id[:])
			}
		}
	}
}

// setID puts the id on an answer, under the names by which SDKs and people
// look for it.
func setID(h http.Header, id drey.RequestID) {
	v := []string{string(id)}
	h["Request-Id"] = v
	h["X-Request-Id"] = v
	h["X-Drey-Request-Id"] = v
}
