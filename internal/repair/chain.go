package repair

// Chain is several filters in a row over one block of text after the other.
// What one lets through is what the next one gets. A nil Chain passes all text.
// A Chain belongs to one goroutine.
type Chain struct {
	names   []string
	whole   bool
	filters []Filter
	applied []bool
}

// NewChain returns a chain of the filters of these names, in order; nil if there
// are none. whole is NewFilter's.
func NewChain(names []string, whole bool) (*Chain, error) {
	if len(names) == 0 {
		return nil, nil
	}
	c := &Chain{names: names, whole: whole, applied: make([]bool, len(names))}
	for _, name := range names {
		f, err := NewFilter(name, whole)
		if err != nil {
			return nil, err
		}
		c.filters = append(c.filters, f)
	}
	return c, nil
}

// Feed takes the next text of the block and returns what may go on.
func (c *Chain) Feed(text string) string {
	if c == nil {
		return text
	}
	for _, f := range c.filters {
		if text == "" {
			return ""
		}
		text = f.Feed(text)
	}
	return text
}

// Close ends the block and returns what was held back. The next text begins
// another block.
func (c *Chain) Close() string {
	if c == nil {
		return ""
	}
	text := ""
	for i, f := range c.filters {
		if text != "" {
			text = f.Feed(text)
		}
		text += f.Close()
		c.applied[i] = c.applied[i] || f.Changed()
		// The name was good before.
		c.filters[i], _ = NewFilter(c.names[i], c.whole)
	}
	return text
}

// Held reports whether some text is held back.
func (c *Chain) Held() bool {
	if c == nil {
		return false
	}
	for _, f := range c.filters {
		if f.Held() {
			return true
		}
	}
	return false
}

// Applied returns the names of the filters that changed something, in order.
func (c *Chain) Applied() []string {
	if c == nil {
		return nil
	}
	var names []string
	for i, f := range c.filters {
		if c.applied[i] || f.Changed() {
			names = append(names, c.names[i])
		}
	}
	return names
}
