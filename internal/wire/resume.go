package wire

import "github.com/dreyhq/drey/internal/wire/sse"

// An answer that breaks after its caller has read some of it can be given to an
// end by another provider, if all that is open is text. Whoever follows the
// stream on its way (a Follower where the bytes pass as they are, a Teller
// where they are translated, both where they are mended) knows where it stands
// then, and a Continuation goes on from there in the caller's wire: the same
// message, the next number, one end.

// Obstacle says why a broken answer must not be continued.
type Obstacle string

// The obstacles. The zero value is none.
const (
	NoObstacle Obstacle = ""
	// CallTold: a tool call was told, whole or in part. Another provider would
	// make it a second time.
	CallTold Obstacle = "tool_call"
	// MidThought: the break is in the middle of reasoning, which only its own
	// model could go on with. Reasoning that came to its end before is none.
	MidThought Obstacle = "thinking"
	// EndTold: the caller has been told why the answer stops.
	EndTold Obstacle = "ending"
	// OddForm: the stream has parts that cannot be continued in pieces: several
	// choices, a refusal, events that make no sense.
	OddForm Obstacle = "form"
)

// Standing is where a broken answer stands in front of its caller.
type Standing struct {
	Obstacle Obstacle // what forbids to continue; the rest is meaningful if nothing does
	// Encoder writes what follows in the caller's wire.
	Encoder Encoder
	Text    string // all text that was told; a line break stands between blocks
	Open    bool   // the last block of it is open
}

// A Follower is an Observer that knows where its stream stands. Those of
// ObserverOptions.Follow are Followers.
type Follower interface {
	Observer
	// Stand is asked once, when the stream has broken. Of the options those
	// count that the frames themselves do not tell.
	Stand(o EncoderOptions) Standing
}

// A Teller is an Encoder that remembers the text that it told, so that another
// provider may go on with it. It belongs to one stream and one goroutine.
type Teller struct {
	enc  Encoder
	text []byte
	kind BlockKind
	open bool
	bar  Obstacle // for good
}

// NewTeller returns a Teller in front of enc.
func NewTeller(enc Encoder) *Teller { return &Teller{enc: enc} }

// Encode appends the frames of one event.
func (t *Teller) Encode(dst []byte, ev Event) []byte {
	switch ev.Kind {
	case BlockStart:
		t.kind, t.open = ev.Block.Kind, true
		switch {
		case t.kind == ToolUse:
			t.bar = CallTold
		case t.kind == Text && len(t.text) > 0:
			t.text = append(t.text, '\n')
		}
	case Delta:
		if t.kind == Text {
			t.text = append(t.text, ev.Text...)
		}
	case BlockStop:
		t.open = false
	case Finish:
		t.bar = EndTold
	}
	return t.enc.Encode(dst, ev)
}

// Next is the number of the event that would follow, on wires that count.
func (t *Teller) Next() int { return next(t.enc) }

// Opens and Follow make a Teller a Joiner, as far as its encoder is one.

// Opens reports whether a frame only begins what later frames fill.
func (t *Teller) Opens(ev sse.Event) bool {
	j, ok := t.enc.(Joiner)
	return ok && j.Opens(ev)
}

// Follow is given a frame that went out in place of what was encoded for it.
func (t *Teller) Follow(ev sse.Event) {
	if j, ok := t.enc.(Joiner); ok {
		j.Follow(ev)
	}
}

func next(enc Encoder) int {
	if c, ok := enc.(Counter); ok {
		return c.Next()
	}
	return 0
}

// Stand tells where the answer stands. The encoder is the one that wrote it so
// far.
func (t *Teller) Stand() Standing {
	s := Standing{Obstacle: t.bar, Encoder: t.enc, Text: string(t.text), Open: t.open}
	if s.Obstacle == NoObstacle && t.open && t.kind != Text {
		s.Obstacle = MidThought
	}
	return s
}

// A Continuation is the Encoder of the provider that gives the rest of an
// answer. What that one thinks before it goes on is not told; what it repeats of
// the end of the text is cut; its usage is added to what was used before. It
// belongs to one stream and one goroutine.
//
// Until the provider has given something that the caller does not have yet,
// nothing is written, and the Standing can be continued by somebody else.
type Continuation struct {
	enc    Encoder
	held   []Event // until something is added
	joint  joint
	kind   BlockKind // of the provider's open block
	open   bool      // a block is open for the caller
	joined bool      // the provider's first block of text has begun
	added  bool
	before Usage     // of the providers before
	used   *Usage    // of this one, as it reports it
	made   Estimator // what it said, if it reports nothing
	input  int       // the estimate of its prompt
}

// Continue returns what goes on where s stands. before is what was used so far,
// and input the estimate of the prompt, for a provider that reports no usage.
func Continue(s Standing, before Usage, input int) *Continuation {
	return &Continuation{enc: s.Encoder, open: s.Open, joint: newJoint(s.Text), before: before, input: input}
}

// Encode appends the frames of one event.
func (c *Continuation) Encode(dst []byte, ev Event) []byte {
	if ev.Usage != nil {
		u := *ev.Usage
		if c.used != nil {
			u = u.Max(*c.used)
		}
		c.used = &u
	}
	switch ev.Kind {
	case BlockStart:
		c.kind = ev.Block.Kind
		switch {
		case c.kind == ToolUse:
			c.added = true
			c.made.Add(ev.Block.Name)
			return c.begin(dst, ev)
		case c.kind == Text && c.joined:
			return c.stop(dst)
		case c.kind == Text: // it goes on with the block that is open, if one is
			c.joined = true
		}
	case Delta:
		c.made.Add(ev.Text)
		switch c.kind {
		case Text:
			return c.say(dst, c.joint.add(ev.Text))
		case ToolUse:
			return c.tell(dst, Event{Kind: Delta, Text: ev.Text})
		}
	case BlockStop:
		switch c.kind {
		case Text:
			return c.stop(c.say(dst, c.joint.flush()))
		case ToolUse:
			return c.stop(dst)
		}
	case Finish:
		sum := c.Usage()
		return c.tell(c.stop(dst), Event{Kind: Finish, Stop: ev.Stop, StopSequence: ev.StopSequence, Usage: &sum})
	}
	return dst
}

// begin opens a block of the caller's, after the one that is open.
func (c *Continuation) begin(dst []byte, ev Event) []byte {
	dst = c.stop(dst)
	c.open = true
	return c.tell(dst, ev)
}

func (c *Continuation) stop(dst []byte) []byte {
	if !c.open {
		return dst
	}
	c.open = false
	return c.tell(dst, Event{Kind: BlockStop})
}

func (c *Continuation) say(dst []byte, text string) []byte {
	if text == "" {
		return dst
	}
	c.added = c.added || !isBlank(text)
	if !c.open {
		dst = c.begin(dst, Event{Kind: BlockStart, Block: Block{Kind: Text}})
	}
	return c.tell(dst, Event{Kind: Delta, Text: text})
}

func (c *Continuation) tell(dst []byte, ev Event) []byte {
	if !c.added {
		c.held = append(c.held, ev)
		return dst
	}
	for _, ev := range c.held {
		dst = c.enc.Encode(dst, ev)
	}
	c.held = nil
	return c.enc.Encode(dst, ev)
}

// Next is the number of the event that would follow, on wires that count.
func (c *Continuation) Next() int { return next(c.enc) }

// Usage is that of all providers of the answer together.
func (c *Continuation) Usage() Usage {
	u := Usage{Input: c.input, Output: c.made.Tokens(), Estimated: true}
	if c.used != nil {
		u = *c.used
		if u.Output == 0 {
			u.Output = c.made.Tokens()
		}
	}
	return c.before.Add(u)
}

// Add returns the sum of two reports of different answers.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, Output: u.Output + v.Output, CacheRead: u.CacheRead + v.CacheRead,
		CacheWrite: u.CacheWrite + v.CacheWrite, Reasoning: u.Reasoning + v.Reasoning,
		Estimated: u.Estimated || v.Estimated,
	}
}
