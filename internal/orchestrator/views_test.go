package orchestrator

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/operation"
)

// TestListAgrees holds the indexes to the filter: whatever is asked for, a walk
// in pages finds what a look at each operation finds, in order.
func TestListAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o, err := New(t.Context(), Config{Policy: operation.DefaultPolicy()})
		if err != nil {
			t.Fatal(err)
		}
		some := func(name string, n int) string { return fmt.Sprint(name, rapid.IntRange(0, n-1).Draw(t, name)) }
		registry := rapid.SampledFrom([]operation.RegistryID{red, operation.MobRegistry("blue")})
		kind := rapid.SampledFrom([]operation.Kind{operation.MemberChild, operation.BackgroundTool})
		status := rapid.SampledFrom([]operation.Status{operation.Provisioning, operation.Running, operation.Retiring, operation.Completed, operation.Failed})
		var all []*entry
		for i := range rapid.IntRange(0, 60).Draw(t, "operations") {
			m := &operation.Machine{Registry: registry.Draw(t, "registry"), Status: status.Draw(t, "status")}
			m.Spec = operation.Spec{ID: operation.ID{15: byte(i)}, Kind: kind.Draw(t, "kind"), Owner: some("owner", 3), Name: some("name", 12)}
			m.Labels = operation.Labels{"role": some("role", 3), "team": some("team", 2)}
			if m.Kind == operation.MemberChild {
				m.Child = some("child", 20)
			}
			e := &entry{id: m.ID, seen: m, scope: o.scopeOf(m.Registry)}
			o.entries[e.id] = e
			o.list(e)
			all = append(all, e)
		}
		for range rapid.IntRange(0, 30).Draw(t, "changes") {
			if len(all) == 0 {
				break
			}
			i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
			was, now := all[i].seen, *all[i].seen
			now.Status, now.Owner = status.Draw(t, "status"), some("owner", 3)
			if all[i].seen = &now; rapid.IntRange(0, 4).Draw(t, "leaves") > 0 {
				o.relist(all[i], was)
				continue
			}
			all[i].seen = was
			o.unlist(all[i])
			all = slices.Delete(all, i, i+1)
		}
		slices.SortFunc(all, func(a, b *entry) int { return a.key().Compare(b.key()) })
		yes := rapid.Bool()
		for range 10 {
			var f operation.Filter
			if yes.Draw(t, "by status") {
				f.Statuses = rapid.SliceOfN(status, 1, 3).Draw(t, "statuses")
			}
			if yes.Draw(t, "by life") {
				live := yes.Draw(t, "live")
				f.Active = &live
			}
			if yes.Draw(t, "by kind") {
				f.Kind = kind.Draw(t, "kind")
			}
			if yes.Draw(t, "by registry") {
				f.Registry = registry.Draw(t, "registry")
			}
			if yes.Draw(t, "by owner") {
				f.Owner = some("owner", 4)
			}
			if yes.Draw(t, "by label") {
				f.Labels = operation.Labels{"role": some("role", 4)}
			}
			if yes.Draw(t, "by another label") {
				f.Labels = operation.Labels{"role": some("role", 3), "team": some("team", 2)}
			}
			if yes.Draw(t, "by name") {
				f.Prefix = "name1"
			}
			var want, got []operation.ID
			for _, e := range all {
				if f.Match(e.seen, false) {
					want = append(want, e.id)
				}
			}
			q := ListQuery{Filter: f, Limit: rapid.IntRange(1, 20).Draw(t, "limit")}
			for {
				page, err := o.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range page.Operations {
					got = append(got, s.ID)
				}
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
			}
			if !slices.Equal(want, got) {
				t.Fatalf("%+v: %v, want %v", f, got, want)
			}
		}
	})
}
