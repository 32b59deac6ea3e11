package openai

import (
	"encoding/hex"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// Responses is the codec of the Responses API. The zero value is ready, and all
// uses may be concurrent.
//
// Its conversation is a flat list of items; what an agent acts on is the item
// that is done. What only OpenAI's own servers can do (tools that they run,
// conversations that they keep) has no place beyond them: the first is left out
// with a note, the second is refused with the remedy.
type Responses struct{}

var _ wire.Codec = Responses{}

// Wire returns drey.WireResponses.
func (Responses) Wire() drey.Wire { return drey.WireResponses }

// NewObserver watches a stream of events that is passed on unchanged. Nothing of
// this wire is ever hidden.
func (Responses) NewObserver(o wire.ObserverOptions) wire.Observer {
	if o.Follow {
		return &responsesFollower{}
	}
	return &responsesObserver{}
}

// NewDecoder reads a stream of events.
func (Responses) NewDecoder() wire.Decoder { return &responsesDecoder{} }

// NewEncoder writes a stream of events. It is a wire.Counter.
func (Responses) NewEncoder(o wire.EncoderOptions) wire.Encoder { return &responsesEncoder{o: o} }

// The types of items and parts that are read and written here.
const (
	itemMessage      = "message"
	itemReasoning    = "reasoning"
	itemCall         = "function_call"
	itemResult       = "function_call_output"
	itemCustom       = "custom_tool_call"
	itemCustomResult = "custom_tool_call_output"
	itemShell        = "local_shell_call"
	itemShellResult  = "local_shell_call_output"
	itemReference    = "item_reference"

	partInput  = "input_text"
	partOutput = "output_text"
)

// shellTool is the name and shellSchema are the arguments of the tool that OpenAI's
// own models know by its type alone: its action.
const (
	shellTool   = "local_shell"
	shellSchema = `{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"program and arguments"},` +
		`"working_directory":{"type":"string"},"timeout_ms":{"type":"integer"}},"required":["command"]}`
	shellText = "Run a command on the user's machine and get its output."
)

// ownReasoning is the encrypted_content of reasoning that drey tells. Agents
// send reasoning back only with one; it is a mark, and goes to no vendor.
const ownReasoning = wire.OwnSignature + "reasoning"

// longestName is what the wires take as the name of a tool.
const longestName = 64

// flatName is the one name of a tool within a namespace: the same for a
// declaration and for a call of the history, whichever is read first.
func flatName(namespace, name string) string {
	if namespace == "" {
		return name
	}
	flat := namespace + "__" + name
	if len(flat) <= longestName {
		return flat
	}
	h := fnv.New32a()
	h.Write([]byte(flat))
	mark := "_" + hex.EncodeToString(h.Sum(nil))
	return strings.ToValidUTF8(flat[:longestName-len(mark)], "") + mark
}

// itemIDs names the items of an answer by the answer's own id, so that nothing
// here needs randomness.
type itemIDs string

func idsOf(answer string) itemIDs {
	for _, prefix := range []string{"resp_", "chatcmpl-", "msg_"} {
		if base, ok := strings.CutPrefix(answer, prefix); ok {
			return itemIDs(base)
		}
	}
	return itemIDs(answer)
}

func (ids itemIDs) at(prefix string, n int) string {
	return prefix + string(ids) + "_" + strconv.Itoa(n)
}

// responseID gives an answer's id this wire's prefix.
func responseID(id string) string { return "resp_" + string(idsOf(id)) }
