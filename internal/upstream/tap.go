package upstream

import (
	"io"
	"net/http"
)

// A Tap is shown a provider's answer as it comes: of whatever status, and before
// anything is made of it. Its calls come from the goroutine that reads the
// answer, and must not block.
type Tap interface {
	// Answered is called once, with the status and the headers, which must not
	// be changed.
	Answered(status int, h http.Header)
	// Read is called with each piece of the body, as it was read. What it keeps
	// of p it copies.
	Read(p []byte)
}

// tapped lets a tap see the answer. Below the clock and the frames there is one
// place through which every byte of it comes.
func (a *attempt) tapped(t Tap, resp *http.Response) {
	t.Answered(resp.StatusCode, resp.Header)
	a.body = &tappedBody{a.body, t}
}

type tappedBody struct {
	io.ReadCloser
	tap Tap
}

func (b *tappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.tap.Read(p[:n])
	}
	return n, err
}
