package server

import (
	"net/http"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/route"
)

// agentPrefix stands before a profile's name in the Anthropic form of the list,
// because an agent drops models whose names do not begin like its vendor's.
const agentPrefix = "claude-drey-"

// anthropicModel is a model as Anthropic's SDKs read it.
type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

// openAIModel is a model as OpenAI's SDKs read it.
type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// models answers the list of what a client may name as its model, or one of
// them. The query is ignored: the list is short and comes whole.
func (s *Server) models(v *visit, id string) {
	if !v.method(http.MethodGet, http.MethodHead) {
		return
	}
	key, ok := s.agentKey(v)
	if !ok || !s.knownProfile(v) {
		return
	}
	list := s.cfg.Gateway.Models(key)
	v.Header().Set("Vary", "Anthropic-Version")
	if v.wire() == drey.WireAnthropic {
		models := make([]anthropicModel, 0, 2*len(list))
		for _, m := range list {
			models = append(models, s.anthropicModel(m.ID, m.ID))
			if m.Profile {
				models = append(models, s.anthropicModel(agentPrefix+m.ID, m.ID+" (drey)"))
			}
		}
		answerModels(v, id, models, func(m anthropicModel) string { return m.ID }, anthropicList)
		return
	}
	models := make([]openAIModel, 0, len(list))
	for _, m := range list {
		models = append(models, s.openAIModel(m.ID))
		if m.Profile && id == agentPrefix+m.ID { // it may be named here too, and is not listed twice
			models = append(models, s.openAIModel(id))
		}
	}
	answerModels(v, id, models, func(m openAIModel) string { return m.ID }, openAIList)
}

// answerModels sends the list, or the one of it that has the id.
func answerModels[M any](v *visit, id string, models []M, idOf func(M) string, list func([]M) any) {
	if id == "" {
		v.json(http.StatusOK, list(models))
		return
	}
	for _, m := range models {
		if idOf(m) == id {
			v.json(http.StatusOK, m)
			return
		}
	}
	v.refuse(&gateway.Refusal{
		Case: route.CaseModelNotFound, Message: "there is no model " + clip(id) + "; /v1/models lists what there is",
	})
}

func (s *Server) anthropicModel(id, name string) anthropicModel {
	return anthropicModel{"model", id, name, s.started.UTC().Format("2006-01-02T15:04:05Z")}
}

func (s *Server) openAIModel(id string) openAIModel {
	return openAIModel{id, "model", s.started.Unix(), "drey"}
}

func anthropicList(models []anthropicModel) any {
	var first, last *string
	if n := len(models); n > 0 {
		first, last = &models[0].ID, &models[n-1].ID
	}
	return struct {
		Data    []anthropicModel `json:"data"`
		HasMore bool             `json:"has_more"`
		FirstID *string          `json:"first_id"`
		LastID  *string          `json:"last_id"`
	}{models, false, first, last}
}

func openAIList(models []openAIModel) any {
	return struct {
		Object string        `json:"object"`
		Data   []openAIModel `json:"data"`
	}{"list", models}
}
