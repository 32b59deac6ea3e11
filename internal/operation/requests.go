package operation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/dreyhq/drey"
)

// RequestsKept is how many request ids an operation remembers at least. A call
// that comes back after so many others is taken for a new one; what has changed
// since then refuses it in most cases. Without a bound a child that reports for
// weeks would make its own record grow for ever.
const RequestsKept = 1024

// MaxRequestID is how long a request id may be, in bytes.
const MaxRequestID = 256

// digest tells the payload of a call from another one.
type digest [16]byte

// MarshalText writes hexadecimal digits.
func (d digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *digest) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(d) {
		return fmt.Errorf("%q is no digest of a request", b)
	}
	_, err := hex.Decode(d[:], b)
	return err
}

// digestOf returns the digest of a call as it came, before anything is filled
// in or cut.
func digestOf(ev Event) digest {
	b, err := marshal(ev.payload())
	if err != nil { // a checked payload has nothing that JSON cannot write
		panic(fmt.Sprintf("operation: payload of %s: %v", ev.action(), err))
	}
	sum := sha256.Sum256(b)
	return digest(sum[:])
}

// answered is what an operation remembers of a call that carried a request id
// and was taken.
type answered struct {
	RequestID drey.RequestID `json:"request_id"`
	Action    Action         `json:"action"`
	Digest    digest         `json:"digest"`
	Version   int64          `json:"version"` // the answer: what the call made the machine's
}

// request is an answered call and those before it. The chain is never written
// once it is made, so that machines share it.
type request struct {
	answered
	n    int // how many there are from here
	prev *request
}

func (r *request) find(id drey.RequestID) *request {
	for ; r != nil; r = r.prev {
		if r.RequestID == id {
			return r
		}
	}
	return nil
}

// with returns the chain with one more call, and without those beyond
// RequestsKept as soon as they are as many again.
func (r *request) with(a answered) *request {
	if r == nil {
		return &request{answered: a, n: 1}
	}
	if r.n >= 2*RequestsKept {
		r = chain(r.list()[r.n-RequestsKept+1:])
	}
	return &request{answered: a, n: r.n + 1, prev: r}
}

// list returns the calls, oldest first.
func (r *request) list() []answered {
	if r == nil {
		return nil
	}
	out := make([]answered, r.n)
	for i := r.n - 1; r != nil; i, r = i-1, r.prev {
		out[i] = r.answered
	}
	return out
}

// chain is the inverse of list.
func chain(list []answered) *request {
	var r *request
	for i, a := range list {
		r = &request{answered: a, n: i + 1, prev: r}
	}
	return r
}
