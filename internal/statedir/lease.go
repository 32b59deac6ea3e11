package statedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey"
)

// Ages of leases. Source: the lifecycle contract §6.6.
const (
	leaseRefresh = 30 * time.Second
	leaseStale   = 90 * time.Second
	leaseTempAge = 10 * time.Minute
	maxLease     = 64 << 10 // far above any lease that is written
)

// LeaseState says what a lease is worth.
type LeaseState uint8

// The states. Fresh is the zero value.
const (
	Fresh  LeaseState = iota // its client is there
	Stale                    // not refreshed for over 90 s, whatever its process does
	Orphan                   // its process is dead
)

var leaseStates = [...]string{"FRESH", "STALE", "ORPHAN"}

// String returns the state as status output spells it.
func (s LeaseState) String() string {
	if int(s) < len(leaseStates) {
		return leaseStates[s]
	}
	return fmt.Sprintf("lease state(%d)", s)
}

// Lease is a client's sign of life. It is presence and no more: a lease keeps
// nobody awake unless it is Active.
type Lease struct {
	PID         int
	UUID        string
	StartedAt   time.Time // zero where the file tells none
	LastRefresh time.Time // the file's own time where its content tells none, or one in the future
	Active      bool      // the client works without calling
	Client      string    // what the client calls itself; may be empty
	Version     string    // of the client's drey; may be empty
	State       LeaseState
	Path        string
}

// leaseFile is a lease on disk. The pointers tell a missing field from an
// empty one.
type leaseFile struct {
	PID         *int    `json:"pid"`
	UUID        *string `json:"uuid"`
	StartedAt   *string `json:"started_at"`
	LastRefresh *string `json:"last_refresh"`
	Version     *string `json:"wrapper_version"`
	Schema      *int    `json:"schema_version"`
	Active      bool    `json:"active,omitempty"`
	Client      string  `json:"client,omitempty"`
}

const leaseSchema = 1

// leaseName is the name of a lease: heartbeat-<pid>-<uuid>.json. What is named
// otherwise is not ours.
var leaseName = regexp.MustCompile(`^heartbeat-(-?[0-9]{1,10})-([0-9A-Za-z-]{1,64})\.json$`)

// Leases returns the leases of the home as they stand at now, in the order of
// their names. A missing directory has none. Nothing is changed.
func (h Home) Leases(now time.Time) ([]Lease, error) {
	entries, err := os.ReadDir(h.Wrappers())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var leases []Lease
	for _, e := range entries {
		m := leaseName.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // its client has just left
		}
		l := Lease{UUID: m[2], LastRefresh: info.ModTime(), Path: filepath.Join(h.Wrappers(), e.Name())}
		if l.PID, err = strconv.Atoi(m[1]); err != nil {
			l.PID = 0 // too large to be a process
		}
		l.read(readSome(l.Path, maxLease), now)
		l.State = l.judge(now)
		leases = append(leases, l)
	}
	return leases, nil
}

// read takes over what the file says, all or nothing: of a lease that is half
// right only its name and its own time are believed.
func (l *Lease) read(b []byte, now time.Time) {
	var f leaseFile
	if json.Unmarshal(b, &f) != nil || f.PID == nil || f.UUID == nil || f.StartedAt == nil ||
		f.LastRefresh == nil || f.Version == nil || f.Schema == nil || *f.Schema != leaseSchema {
		return
	}
	started, err := drey.ParseTime(*f.StartedAt)
	if err != nil {
		return
	}
	refreshed, err := drey.ParseTime(*f.LastRefresh)
	if err != nil {
		return
	}
	if !refreshed.After(now) {
		l.LastRefresh = refreshed
	}
	l.PID, l.UUID, l.StartedAt = *f.PID, *f.UUID, started
	l.Active, l.Client, l.Version = f.Active, f.Client, *f.Version
}

// judge decides in this order: (1) old is stale, (2) without a living process
// it is an orphan, (3) else it is fresh.
func (l *Lease) judge(now time.Time) LeaseState {
	switch {
	case now.Sub(l.LastRefresh) > leaseStale: // 1
		return Stale
	case !alive(l.PID): // 2
		return Orphan
	}
	return Fresh // 3
}

// alive asks the system for a process. One that we may not signal is there.
func alive(pid int) bool {
	if pid <= 0 { // kill would take these for groups
		return false
	}
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// SweepLeases removes the leases that are stale or orphans, and temporary
// files of leases that are older than 10 minutes. Fresh leases and files of
// other names are never touched.
func (h Home) SweepLeases(now time.Time) (removed int, err error) {
	leases, err := h.Leases(now)
	if err != nil {
		return 0, err
	}
	for _, l := range leases {
		if l.State == Fresh {
			continue
		}
		switch e := os.Remove(l.Path); {
		case e == nil:
			removed++
		case !errors.Is(e, os.ErrNotExist):
			err = errors.Join(err, e)
		}
	}
	n, terr := removeOlder(h.Wrappers(), leasePrefix, tempSuffix, now.Add(-leaseTempAge))
	return removed + n, errors.Join(err, terr)
}
