package operation

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJSON(t *testing.T) {
	const id = `01a202b2-c500-7000-8000-000000000001`
	member, tool := memberSpec().withDefaults(), toolSpec().withDefaults()
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"spec, whole", member, `{"id":"` + id + `","kind":"mob_member_child","owner_session_id":"s-lead","display_name":"alpha/coder/ann","source_label":"mob_member","child_session_id":"s-ann","expect_peer_channel":true,"on_restart":"resume","labels":{"member":"ann","mob":"alpha"}}`},
		{"spec, the least", tool, `{"id":"` + id + `","kind":"background_tool_op","owner_session_id":"s-ann","display_name":"shell","source_label":"background_tool","expect_peer_channel":false,"on_restart":"fail","labels":{}}`},
		{"peer handle", handle(), `{"peer_name":"alpha/coder/ann","peer":{"name":"ann","peer_id":"p1","address":"inproc://alpha/ann"}}`},
		{"update", ProgressUpdate{"half", PercentOf(0)}, `{"message":"half","percent":0}`},
		{"update without percent", ProgressUpdate{Message: "half"}, `{"message":"half"}`},
		{"result", Result{ID: idOf(1), Content: "x"}, `{"id":"` + id + `","content":"x","is_error":false,"duration_ms":0,"tokens_used":0}`},
		{"result, cut", Result{ID: idOf(1), Content: "x", Truncated: true, ContentBytes: 9}, `{"id":"` + id + `","content":"x","is_error":false,"duration_ms":0,"tokens_used":0,"truncated":true,"content_bytes":9}`},
		{"completed", Outcome{Type: Completed, Result: Result{ID: idOf(1), Content: "x", Tokens: 3}}, `{"outcome_type":"completed","id":"` + id + `","content":"x","is_error":false,"duration_ms":0,"tokens_used":3}`},
		{"failed", Outcome{Type: Failed, Error: "x"}, `{"outcome_type":"failed","error":"x"}`},
		{"failed without a word", Outcome{Type: Failed}, `{"outcome_type":"failed","error":""}`},
		{"aborted", Outcome{Type: Aborted, Reason: "x"}, `{"outcome_type":"aborted","reason":"x"}`},
		{"aborted without reason", Outcome{Type: Aborted}, `{"outcome_type":"aborted"}`},
		{"cancelled without reason", Outcome{Type: Cancelled}, `{"outcome_type":"cancelled"}`},
		{"retired", Outcome{Type: Retired}, `{"outcome_type":"retired"}`},
		{"terminated", Outcome{Type: Terminated, Reason: "x"}, `{"outcome_type":"terminated","reason":"x"}`},
		{"snapshot, the least", registered(t, toolSpec()).Snapshot(Around{LastSeq: 7}),
			`{"id":"` + id + `","kind":"background_tool_op","owner_session_id":"s-ann","display_name":"shell","source_label":"background_tool","expect_peer_channel":false,"on_restart":"fail","labels":{},` +
				`"registry":"mob:alpha","status":"provisioning","version":1,"peer_ready":false,"progress_count":0,"created_at_ms":1795341600000,"updated_at_ms":1795341600000,"last_seq":7,"watcher_count":0,"waiter_count":0}`},
		{"snapshot, whole", must(t, Machine{}, life()...).Snapshot(Around{LastSeq: 9, Watchers: 1, Waiters: 2, Parent: idOf(2), Archived: true}),
			`{"id":"` + id + `","kind":"mob_member_child","owner_session_id":"s-new","display_name":"alpha/coder/ann","source_label":"mob_member","child_session_id":"s-ann","expect_peer_channel":true,"on_restart":"resume","labels":{"member":"ann","mob":"alpha"},` +
				`"registry":"mob:alpha","status":"completed","version":8,"peer_ready":true,"peer_handle":{"peer_name":"alpha/coder/ann","peer":{"name":"ann","peer_id":"p1","address":"inproc://alpha/ann"}},` +
				`"progress_count":2,"progress":{"message":"half <of> it\n\u2028","percent":50.5,"at_ms":1795341600035},` +
				`"terminal_outcome":{"outcome_type":"completed","id":"` + id + `","content":"done �","is_error":true,"duration_ms":60,"tokens_used":7},` +
				`"created_at_ms":1795341600000,"updated_at_ms":1795341600070,"started_at_ms":1795341600010,"completed_at_ms":1795341600070,"last_seq":9,"watcher_count":1,"waiter_count":2,` +
				`"parent_operation_id":"01a202b2-c500-7000-8000-000000000002","elapsed_ms":70,"archived":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := marshal(tt.v)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, string(got)); d != "" {
				t.Error(d)
			}
			back := reflect.New(reflect.TypeOf(tt.v))
			if err := json.Unmarshal(got, back.Interface()); err != nil {
				t.Fatal(err)
			}
			want := tt.v
			if s, ok := want.(Snapshot); ok { // what it decides by is no part of it
				s.requests = nil
				want = s
			}
			if !reflect.DeepEqual(back.Elem().Interface(), want) {
				t.Errorf("read back\n got %+v\nwant %+v", back.Elem().Interface(), want)
			}
		})
	}
	if _, err := json.Marshal(Outcome{Type: Running}); err == nil {
		t.Error("a live operation has an outcome")
	}
	for _, bad := range []string{`{}`, `{"outcome_type":"running"}`, `{"outcome_type":"gone"}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), new(Outcome)); err == nil {
			t.Errorf("%s was taken for an outcome", bad)
		}
	}
}
