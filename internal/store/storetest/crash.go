package storetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// crashDir tells the child of Crash which store to write.
const crashDir = "DREY_STORETEST_CRASH_DIR"

// soak says that the long form of the tests is wanted.
func soak() bool { return os.Getenv("DREY_SOAK") == "1" }

// crashWriters is how many goroutines of the child append at once.
const crashWriters = 64

// CrashChild is the other half of Crash. A backend's TestMain calls it first:
// in the process that Crash has started it opens the store and writes to it
// until it is killed, and never returns; in any other it does nothing.
func CrashChild(open Opener) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return
	}
	if err := crashWrite(open, dir); err != nil {
		fmt.Println("error", strconv.Quote(err.Error()))
		os.Exit(1)
	}
}

// crashWrite appends from many goroutines and writes a line for everything that
// the store has acknowledged, before it goes on.
func crashWrite(open Opener, dir string) error {
	ctx := context.Background()
	st, err := open(ctx, dir)
	if err != nil {
		return err
	}
	failed := make(chan error, crashWriters+1)
	for w := range crashWriters {
		go func() { failed <- crashAppend(ctx, st, w) }()
	}
	go func() { failed <- crashTelemetry(ctx, st) }()
	return <-failed // what is acknowledged goes to stdout unbuffered, one write a line
}

// crashAppend moves machine w, and with every third step its twin in the same
// call, from where an earlier child has left them.
func crashAppend(ctx context.Context, st store.Store, w int) error {
	id := strconv.Itoa(w)
	version := int64(0)
	switch s, err := st.Load(ctx, "writer", id); {
	case err == nil:
		version = s.Version
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	for {
		a := store.Append{Machine: "writer", ID: id, Expect: version, Events: []drey.Event{payload("writer", id, version+1)}}
		calls := []store.Append{a}
		if version%3 == 2 {
			calls = append(calls, store.Append{Machine: "twin", ID: id, Expect: version / 3, Events: []drey.Event{payload("twin", id, version/3+1)}})
		}
		if version%16 == 15 {
			calls[0].Snapshot = payloadText(version + 1)
		}
		c, err := st.Append(ctx, calls...)
		if err != nil {
			return fmt.Errorf("writer %d at version %d: %w", w, version, err)
		}
		version++
		if _, err := fmt.Printf("append %s %d %d\n", id, version, c.First); err != nil {
			return err
		}
	}
}

func crashTelemetry(ctx context.Context, st store.Store) error {
	for n := 0; ; n++ {
		id := fmt.Sprintf("req_%d_%d", st.Epoch(), n)
		st.PutRequest(store.RequestRow{ID: drey.RequestID(id), At: epochStart, Row: payloadText(int64(n))})
		if n%50 == 49 {
			if err := st.Flush(ctx); err != nil {
				return err
			}
			if _, err := fmt.Printf("row %s\n", id); err != nil {
				return err
			}
		}
	}
}

// payload is an event that can be seen to be whole.
func payload(machine, id string, version int64) drey.Event {
	return drey.Event{At: epochStart, Name: "crash.step", Machine: machine, ID: id, Fields: []drey.Field{
		drey.F("version", version), drey.F("body", payloadText(version)),
	}}
}

// payloadText is a JSON object of up to 4 KiB with its own checksum.
func payloadText(n int64) json.RawMessage {
	pad := strings.Repeat(strconv.FormatInt(n*7919%9973, 36), int(n*2654435761%1300))
	return raw(`{"pad":%q,"sum":%d}`, pad, crc32.ChecksumIEEE([]byte(pad)))
}

// whole reports what is torn about a text of payloadText.
func whole(text []byte) error {
	var p struct {
		Pad string
		Sum uint32
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	if sum := crc32.ChecksumIEEE([]byte(p.Pad)); sum != p.Sum {
		return fmt.Errorf("sum %d, not %d", sum, p.Sum)
	}
	return nil
}

// Crash kills a process that writes to a store, again and again, and checks
// after each time that the store opens, that everything it had acknowledged is
// there, and that nothing is torn: 5 times, or 200 with DREY_SOAK=1. The
// process is this test's own program, in whose TestMain CrashChild stands.
// verify, which may be nil, checks what the backend alone knows about the
// directory, while no store is open.
func Crash(t *testing.T, open Opener, verify func(t *testing.T, dir string)) {
	rounds, most := 5, 500
	if soak() {
		rounds, most = 200, 1000
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d, %d rounds", seed, rounds)
	c := &crash{dir: t.TempDir(), acked: map[string]int64{}, versions: map[[2]string]int64{}}
	for round := range rounds {
		c.kill(t, rnd.IntN(most), rnd.IntN(400))
		c.check(t, open)
		if verify != nil {
			verify(t, c.dir)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round+1)
		}
	}
	t.Logf("%d rows, %d acknowledged appends of %d writers", c.head, c.acks, len(c.acked))
}

// crash is what is known of the store over all rounds.
type crash struct {
	dir   string
	acks  int
	acked map[string]int64 // by writer: the last version that was acknowledged
	seqs  map[string]int64 // by writer: where it was said to be; of the last round
	rows  []string         // request rows that were flushed; of the last round

	head     drey.Seq            // the journal is checked up to here
	versions map[[2]string]int64 // by machine, in the checked part
}

// kill starts the child, kills it after so many acknowledgements, and reads
// what it had said until then. One round in ten does not wait for it to speak,
// so that it is killed while it opens the store; turns is then the pause.
func (c *crash) kill(t *testing.T, after, turns int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), crashDir+"="+c.dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.seqs, c.rows = map[string]int64{}, nil
	lines := bufio.NewReader(out)
	killed := false
	kill := func() {
		killed = true
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
	}
	if turns < 40 { // one in ten
		for range 100 * turns {
			_, _ = os.Stat(c.dir)
		}
		kill()
	}
	for n := 0; ; n++ {
		if n == after && !killed {
			kill()
		}
		line, err := lines.ReadString('\n')
		if err != nil { // what follows the last newline was not said
			if !errors.Is(err, io.EOF) {
				t.Errorf("read the child: %v", err)
			}
			break
		}
		c.heard(t, strings.Fields(line))
	}
	_ = cmd.Wait() // killed
	if !killed {
		t.Fatalf("the child ended by itself: %s", stderr.String())
	}
}

func (c *crash) heard(t *testing.T, words []string) {
	t.Helper()
	switch {
	case len(words) == 4 && words[0] == "append":
		version, err := strconv.ParseInt(words[2], 10, 64)
		seq, err2 := strconv.ParseInt(words[3], 10, 64)
		if err != nil || err2 != nil || version != c.acked[words[1]]+1 && c.seqs[words[1]] != 0 || version <= c.acked[words[1]] {
			t.Errorf("%q follows version %d", words, c.acked[words[1]])
			return
		}
		c.acks++
		c.acked[words[1]], c.seqs[words[1]] = version, seq
	case len(words) == 2 && words[0] == "row":
		c.rows = append(c.rows, words[1])
	default:
		t.Errorf("the child says %q", words)
	}
}

// check opens the store and compares it with what was acknowledged.
func (c *crash) check(t *testing.T, open Opener) {
	t.Helper()
	st, err := open(t.Context(), c.dir)
	if err != nil {
		t.Fatalf("open after a crash: %v", err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	at := map[[2]string]drey.Seq{} // of every version in the new part of the journal
	for _, e := range walkAll(t, st, store.Query{After: c.head, Limit: store.MaxLimit}) {
		k := [2]string{e.Machine, e.ID}
		c.head++
		c.versions[k]++
		if e.Seq != c.head {
			t.Fatalf("seq %d follows %d", e.Seq, c.head-1)
		}
		if len(e.Fields) != 2 || string(e.Fields[0].Value.(json.RawMessage)) != strconv.FormatInt(c.versions[k], 10) {
			t.Fatalf("row %d of %v is not its version %d: %+v", e.Seq, k, c.versions[k], e.Fields)
		}
		if err := whole(e.Fields[1].Value.(json.RawMessage)); err != nil {
			t.Fatalf("row %d is torn: %v", e.Seq, err)
		}
		at[[2]string{e.ID, strconv.FormatInt(c.versions[k], 10) + e.Machine}] = e.Seq
	}
	if head, err := st.Head(t.Context()); err != nil || head != c.head {
		t.Errorf("the journal ends at %d and its head is %d, %v", c.head, head, err)
	}
	states, err := st.Snapshots(t.Context(), "writer")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		journaled := c.versions[[2]string{"writer", s.ID}]
		if s.Version != journaled || s.Version < c.acked[s.ID] {
			t.Errorf("writer %s is at version %d, has %d rows, and %d were acknowledged", s.ID, s.Version, journaled, c.acked[s.ID])
		}
		if twin := c.versions[[2]string{"twin", s.ID}]; twin != journaled/3 {
			t.Errorf("writer %s is at %d and its twin at %d: a call was torn", s.ID, journaled, twin)
		}
		if s.Snapshot != nil {
			if err := whole(s.Snapshot); err != nil {
				t.Errorf("the snapshot of writer %s is torn: %v", s.ID, err)
			}
		}
		if seq := c.seqs[s.ID]; seq != 0 && int64(at[[2]string{s.ID, strconv.FormatInt(c.acked[s.ID], 10) + "writer"}]) != seq {
			t.Errorf("version %d of writer %s was said to be at seq %d and is not", c.acked[s.ID], s.ID, seq)
		}
		c.acked[s.ID] = s.Version // the next child goes on from here
	}
	for id := range c.seqs {
		if c.versions[[2]string{"writer", id}] == 0 {
			t.Errorf("writer %s is gone", id)
		}
	}
	for _, id := range c.rows {
		r, err := st.Request(t.Context(), drey.RequestID(id))
		if err != nil {
			t.Errorf("a flushed row: %v", err)
		} else if err := whole(r.Row); err != nil {
			t.Errorf("row %s is torn: %v", id, err)
		}
	}
}
