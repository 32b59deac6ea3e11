package main

import (
	"encoding/json"
	"strings"
)

// message is one of a conversation, on either wire.
type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// messagesOf reads the conversation of a request.
func messagesOf(body []byte) ([]message, error) {
	var in struct {
		Messages []message `json:"messages"`
	}
	err := json.Unmarshal(body, &in)
	return in.Messages, err
}

// toolResult returns the text of the last tool result in a request of either
// wire.
func toolResult(body []byte) string {
	messages, err := messagesOf(body)
	if err != nil {
		return err.Error()
	}
	result := "nothing"
	for _, m := range messages {
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
	messages, err := messagesOf(body)
	if err != nil {
		return err.Error()
	}
	if n := len(messages); n > 0 && messages[n-1].Role == "assistant" {
		return contentText(messages[n-1].Content)
	}
	return ""
}
