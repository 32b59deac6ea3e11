package main

import (
	"encoding/json"
	"strings"
)

// toolResult returns the text of the last tool result in a request of either
// wire.
func toolResult(body []byte) string {
	var in struct {
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return err.Error()
	}
	result := "nothing"
	for _, m := range in.Messages {
		if m.Role == "tool" {
			result = contentText(m.Content)
			continue
		}
		var blocks []struct {
			Type    string          `json:"type"`
			Content json.RawMessage `json:"content"`
		}
		if json.Unmarshal(m.Content, &blocks) != nil {
			continue // a plain string holds no result
		}
		for _, b := range blocks {
			if b.Type == "tool_result" {
				result = contentText(b.Content)
			}
		}
	}
	return strings.TrimSpace(result)
}

// contentText reads a content that is a string or a list of text parts.
func contentText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err.Error()
	}
	for _, p := range parts {
		text += p.Text
	}
	return text
}

// lastWords returns the text of the last message in a request of either wire,
// if it is the assistant's.
func lastWords(body []byte) string {
	var in struct {
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return err.Error()
	}
	if n := len(in.Messages); n > 0 && in.Messages[n-1].Role == "assistant" {
		return contentText(in.Messages[n-1].Content)
	}
	return ""
}
