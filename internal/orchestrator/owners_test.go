package orchestrator

import (
	"slices"
	"testing"

	"github.com/dreyhq/drey/internal/operation"
)

func TestTerminateOwnerTakesTheSubtree(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		r := &runtimeFake{}
		h := at.start(Config{Runtime: r})
		top := h.running(t, red, member("boss", "a"))
		below := h.running(t, red, member("a", "b"))
		deep := h.must(t, red, tool("b", "t"))
		selfish := h.running(t, red, member("b", "b"))
		other := h.running(t, red, member("stranger", "c"))
		elsewhere := h.running(t, "mob:blue", member("a", "d"))
		got, err := h.Registry(red).TerminateOwner(t.Context(), "boss", "over", operation.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		if want := []operation.ID{deep, selfish, below, top}; !slices.Equal(got, want) && !slices.Equal(got, []operation.ID{selfish, deep, below, top}) {
			t.Errorf("ended %v, want %v", got, want)
		}
		if !slices.Equal(r.stopped, got) {
			t.Errorf("stopped %v, want %v", r.stopped, got)
		}
		for _, id := range []operation.ID{other, elsewhere} {
			if s := h.status(t, id); s != operation.Running {
				t.Errorf("%s is %v", id, s)
			}
		}
		if again, err := h.Registry(red).TerminateOwner(t.Context(), "boss", "over", operation.Meta{}); err != nil || len(again) != 0 {
			t.Errorf("again: %v, %v", again, err)
		}
		if all, err := h.TerminateOwner(t.Context(), "a", "over", operation.Meta{}); err != nil || !slices.Equal(all, []operation.ID{elsewhere}) {
			t.Errorf("in all registries: %v, %v", all, err)
		}
		if rest, err := h.Registry(red).TerminateAll(t.Context(), "closing", operation.Meta{}); err != nil || !slices.Equal(rest, []operation.ID{other}) {
			t.Errorf("the registry: %v, %v", rest, err)
		}
	})
}

func TestAdoptOwner(t *testing.T) {
	everywhere(t, func(t *testing.T, at *place) {
		h := at.start(Config{})
		m := h.Members(operation.Fallback)
		if err := m.Bind(t.Context(), "kid", "old", red); err != nil {
			t.Fatal(err)
		}
		kid, err := m.MarkProvisioned(t.Context(), "kid", "kid")
		if err != nil {
			t.Fatal(err)
		}
		job := h.must(t, red, tool("old", "t"))
		self := h.running(t, red, member("old", "old"))
		got, err := h.Registry(red).AdoptOwner(t.Context(), "old", "new", operation.MemberChild, operation.Meta{})
		if err != nil || !slices.Equal(got, []operation.ID{kid}) {
			t.Fatalf("adopted %v, %v", got, err)
		}
		if b := m.RegistryFor("kid"); b != (Binding{red, "new"}) {
			t.Errorf("bound to %+v", b)
		}
		page, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Owner: "new"}})
		if err != nil || len(page.Operations) != 1 || page.Operations[0].ID != kid {
			t.Errorf("list by owner: %+v, %v", page.Operations, err)
		}
		for _, id := range []operation.ID{job, self} {
			if s, _ := h.Get(t.Context(), id); s.Owner != "old" {
				t.Errorf("%s has owner %s", id, s.Owner)
			}
		}
		if _, err := h.RetireOwner(t.Context(), "gone", "", operation.Meta{}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Registry(red).AdoptOwner(t.Context(), "new", "gone", operation.NoKind, operation.Meta{}); codeOf(err) != operation.CodeOwnerRetired {
			t.Errorf("to a retired owner: %v", err)
		}
	})
}
