package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clientKey is what the agents show to drey. Few scenarios ask for it.
const clientKey = "e2e-client-key"

// agent is a real client.
type agent struct {
	name string
	exe  string // "" = it is not there, and its scenarios are left out

	// command returns the agent with the task, in front of drey at base. Nothing
	// of the caller's own set-up may reach it, credentials least of all.
	command func(ctx context.Context, exe, base, user string) (*exec.Cmd, error)
	// read returns the agent's last words out of its output, or says how it
	// ended without. The task takes so many turns.
	read func(out string, turns int) (string, error)
}

var claudeCode = agent{
	name: "claude",
	command: func(ctx context.Context, exe, base, user string) (*exec.Cmd, error) {
		cmd := exec.CommandContext(ctx, exe, "-p", prompt, "--dangerously-skip-permissions", "--output-format", "json")
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + user, "IS_SANDBOX=1",
			"ANTHROPIC_BASE_URL=" + base, "ANTHROPIC_AUTH_TOKEN=" + clientKey, "ANTHROPIC_MODEL=e2e-model",
			"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "DISABLE_AUTOUPDATER=1",
		}
		return cmd, nil
	},
	read: func(out string, turns int) (string, error) {
		var result struct {
			Subtype string `json:"subtype"`
			IsError bool   `json:"is_error"`
			Turns   int    `json:"num_turns"`
			Result  string `json:"result"`
		}
		if err := json.Unmarshal([]byte(out), &result); err != nil {
			return "", fmt.Errorf("the agent's output is not its JSON: %w", err)
		}
		if result.Subtype != "success" || result.IsError || result.Turns != turns {
			return "", fmt.Errorf("the agent ended with %s, is_error %v, %d turns; want success in %d turns", result.Subtype, result.IsError, result.Turns, turns)
		}
		return result.Result, nil
	},
}

// codexConfig is the config.toml of Codex, whose one wire is Responses.
const codexConfig = `model = "e2e-model"
model_provider = "drey"
check_for_update_on_startup = false

[model_providers.drey]
name = "drey"
base_url = %q
wire_api = "responses"
env_key = "E2E_KEY"

[analytics]
enabled = false
`

var codex = agent{
	name: "codex",
	command: func(ctx context.Context, exe, base, user string) (*exec.Cmd, error) {
		home := filepath.Join(user, ".codex")
		if err := os.MkdirAll(home, 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(home, "config.toml"), fmt.Appendf(nil, codexConfig, base+"/v1"), 0o600); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, exe, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", prompt)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + user, "CODEX_HOME=" + home, "E2E_KEY=" + clientKey}
		return cmd, nil
	},
	read: func(out string, _ int) (last string, err error) {
		ended := false
		for line := range strings.Lines(out) {
			var ev struct {
				Type string `json:"type"`
				Item struct {
					Type string `json:"type"`
					Text string `json:"text"`
				} `json:"item"`
			}
			if err := json.Unmarshal([]byte(line), &ev); err != nil {
				return "", fmt.Errorf("a line of the agent's output is not its JSON: %w", err)
			}
			switch {
			case ev.Type == "item.completed" && ev.Item.Type == "agent_message":
				last = ev.Item.Text
			case ev.Type == "turn.completed":
				ended = true
			case ev.Type == "turn.failed":
				return "", fmt.Errorf("the agent's turn failed: %s", line)
			}
		}
		if !ended {
			return "", errors.New("the agent's output has no turn.completed")
		}
		return last, nil
	},
}
