package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// ids are the ids of a list of models.
func (r *reply) ids() []string {
	var ids []string
	for _, m := range gjson.Get(r.body, "data.#.id").Array() {
		ids = append(ids, m.Str)
	}
	return ids
}

func TestModels(t *testing.T) {
	l := newLab(t, nil, nil)
	t.Run("openai", func(t *testing.T) {
		r := l.ask("GET", "/v1/models?limit=1", "")
		if diff := cmp.Diff([]string{"default", "dear", "gpt-x", "local", "cloud"}, r.ids()); diff != "" {
			t.Errorf("ids (-want +got):\n%s", diff)
		}
		if gjson.Get(r.body, "object").Str != "list" || gjson.Get(r.body, "data.0.object").Str != "model" ||
			gjson.Get(r.body, "data.0.owned_by").Str != "drey" || gjson.Get(r.body, "data.0.created").Int() == 0 {
			t.Error(r.body)
		}
	})
	t.Run("anthropic", func(t *testing.T) {
		r := l.ask("GET", "/v1/models?limit=1000", "", "anthropic-version", "2023-06-01")
		if diff := cmp.Diff([]string{"default", "claude-drey-default", "dear", "claude-drey-dear", "gpt-x", "local", "cloud"}, r.ids()); diff != "" {
			t.Errorf("ids (-want +got):\n%s", diff)
		}
		m := gjson.Parse(r.body)
		if m.Get("first_id").Str != "default" || m.Get("last_id").Str != "cloud" || m.Get("has_more").Raw != "false" ||
			m.Get("data.0.type").Str != "model" || m.Get("data.1.display_name").Str != "default (drey)" || m.Get("data.0.created_at").Str == "" {
			t.Error(r.body)
		}
	})
	t.Run("one", func(t *testing.T) {
		for _, id := range []string{"default", "claude-drey-default", "gpt-x", "local"} {
			for _, version := range []string{"", "2023-06-01"} {
				headers := []string{}
				if version != "" {
					headers = []string{"anthropic-version", version}
				}
				if r := l.ask("GET", "/v1/models/"+id, "", headers...); r.StatusCode != 200 || gjson.Get(r.body, "id").Str != id {
					t.Errorf("%s with version %q: %d %s", id, version, r.StatusCode, r.body)
				}
			}
		}
	})
	t.Run("an empty list", func(t *testing.T) {
		if got := string(mustJSON(t, anthropicList([]anthropicModel{}))); got != `{"data":[],"has_more":false,"first_id":null,"last_id":null}` {
			t.Error(got)
		}
	})
}
