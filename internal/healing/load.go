package healing

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/upstream"
)

// survivorGrace is how long what an earlier daemon has left may take to end.
const survivorGrace = 2 * time.Second

// survivor is a process that an earlier daemon has started and may have left.
type survivor struct {
	id       drey.ProviderID
	identity process.Identity
}

// load takes up what the journal holds.
func (k *Keeper) load(ctx context.Context, s *Settings) error {
	states, err := k.cfg.Journal.Snapshots(ctx, machineProvider)
	if err != nil {
		return fmt.Errorf("load the health of providers: %w", err)
	}
	processes, err := k.cfg.Journal.Snapshots(ctx, machineProcess)
	if err != nil {
		return fmt.Errorf("load processes: %w", err)
	}
	known := map[drey.ProviderID]bool{}
	for i := range s.Providers {
		known[s.Providers[i].ID] = true
	}
	records := map[drey.ProviderID]health.Record{}
	for _, st := range states {
		if st.Snapshot == nil {
			continue // it has events, and nothing to take up
		}
		id := drey.ProviderID(st.ID)
		if !known[id] {
			k.drop(id, "unknown-provider")
			continue
		}
		r, err := health.ParseRecord(st.Snapshot)
		if err != nil {
			k.drop(id, "broken")
			continue
		}
		records[id] = r
	}
	for _, st := range processes {
		if st.Snapshot == nil {
			continue
		}
		var id process.Identity
		if json.Unmarshal(st.Snapshot, &id) == nil {
			k.survivors = append(k.survivors, survivor{drey.ProviderID(st.ID), id})
		}
	}
	k.adopt(s, records)
	return nil
}

// drop deletes a row that cannot be taken up, and says so.
func (k *Keeper) drop(id drey.ProviderID, reason string) {
	k.journal(nil, store.Append{
		Machine: machineProvider, ID: string(id), Expect: store.AnyVersion, Delete: true,
		Events: []drey.Event{health.DroppedEvent(time.Now(), id, reason)},
	})
}

// open begins what had to wait for Serve.
func (k *Keeper) open() {
	left := k.survivors
	k.survivors = nil
	k.beside(func() func() {
		for _, s := range left {
			if was, err := process.KillSurvivor(s.identity, survivorGrace); err != nil {
				k.cfg.Log.Error("process-not-stopped", "provider", s.id, "pid", s.identity.PID, "error", err)
			} else if was {
				k.cfg.Log.Warn("process-left-behind", "provider", s.id, "pid", s.identity.PID)
			}
		}
		close(k.cleared)
		return func() {
			for _, s := range left {
				// One that has been started since has its own row, which stays.
				if !k.runs(s.id) {
					k.journal(nil, store.Append{Machine: machineProcess, ID: string(s.id), Expect: store.AnyVersion, Delete: true})
				}
			}
		}
	})
	for _, name := range k.groupNames() {
		k.groupStep(k.groups[name], health.GroupOpened{GroupMeta: k.groupMeta()}, nil)
	}
}

func (k *Keeper) groupNames() []string {
	names := make([]string, 0, len(k.groups))
	for name := range k.groups {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Apply puts new settings in force: what is known of a provider stays if its
// name, url, model and wire are the same. It returns when the next request goes
// by them. Requests under way end as they began.
func (k *Keeper) Apply(s Settings) {
	k.wait(func() { k.adopt(&s, nil) })
	k.patrolAgain()
}

// adopt puts settings in force. records are what new machines are loaded with.
// Its order:
//
//  1. the table and the policies are the new ones, so that every step below goes
//     by them;
//  2. the groups learn of theirs, so that what a machine asks of them is there;
//  3. machines of providers that stay learn of their policy, new ones are
//     loaded, and those of providers that are gone end.
func (k *Keeper) adopt(s *Settings, records map[drey.ProviderID]health.Record) {
	old := k.table.Load()
	next := &table{settings: s, seats: map[drey.ProviderID]*seat{}}
	type change struct {
		s        *seat
		replaced bool
		fresh    bool
	}
	var changes []change
	var renewed []drey.ProviderID // whose process is not the one that is configured now
	for i := range s.Providers {
		p := &s.Providers[i]
		c := change{s: old.seats[p.ID]}
		if c.s == nil {
			c.fresh = true
			c.s = &seat{id: p.ID, cuts: map[uint64]func(error){}, wants: map[uint64]*waiter{}, uses: map[uint64]*group{}}
		} else {
			if c.replaced = !same(c.s.provider, p); c.replaced {
				c.s.forget()
			}
			if c.replaced || !sameProcess(c.s.provider, p) {
				renewed = append(renewed, p.ID)
			}
		}
		if c.s.provider == nil || !sameWay(c.s.provider, p) {
			if c.s.up != nil {
				c.s.up.Close()
			}
			c.s.up = upstream.New(p.Config)
		}
		c.s.provider = p
		c.s.policy = s.policy(p, Rest(k.rest.Load()) == Asleep, k.cfg.Redact)
		next.seats[p.ID] = c.s
		next.order = append(next.order, c.s)
		changes = append(changes, c)
	}
	k.table.Store(next) // 1
	for _, c := range changes {
		if name := groupName(c.s.provider); name != "" && k.groups[name] == nil {
			k.groups[name] = &group{name: name, runs: map[drey.ProviderID]*run{}}
		}
	}
	for _, name := range k.groupNames() { // 2
		g := k.groups[name]
		g.policy = s.groupPolicy(name)
		k.groupStep(g, health.GroupChanged{GroupMeta: k.groupMeta()}, nil)
		for _, id := range renewed {
			if g.member(id) != nil {
				k.groupStep(g, health.Replaced{GroupMeta: k.groupMeta(), Provider: id}, nil)
			}
		}
		switch {
		case k.settled:
			k.groupStep(g, health.GroupShutdown{GroupMeta: k.groupMeta()}, nil)
		case k.effects != nil: // Serve runs: new members may be eager
			k.groupStep(g, health.GroupOpened{GroupMeta: k.groupMeta()}, nil)
		}
	}
	for _, c := range changes { // 3
		switch {
		case c.fresh:
			r, ok := records[c.s.id]
			c.s.recorded = ok
			k.step(c.s, health.Loaded{Meta: k.meta(c.s), Record: r})
			if k.quiet {
				k.step(c.s, health.ShutdownBegan{Meta: k.meta(c.s)})
			}
		default:
			k.step(c.s, health.PolicyChanged{Meta: k.meta(c.s), Replaced: c.replaced})
		}
		k.tellDrainers(c.s)
		k.publish(c.s)
	}
	for _, gone := range old.order {
		if next.seats[gone.id] != nil {
			continue
		}
		k.turnAway(gone, &health.Refused{Reason: "excluded"})
		for _, w := range gone.wants { // their group has not found the seat any more
			k.refuse(gone, w, &health.Refused{Reason: "excluded"})
		}
		k.step(gone, health.PolicyChanged{Meta: k.meta(gone), Gone: true})
		k.tellDrainers(gone)
		gone.up.Close()
	}
	k.rerank(next)
}
