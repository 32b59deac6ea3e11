package exam

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"

	"github.com/dreyhq/drey/internal/wire"
)

// thinking asks for reasoning and looks whether some comes.
func thinking(c *chart, got []Answer) (*Ask, []Finding) {
	if len(got) == 0 {
		a := c.ask("How many prime numbers are there between 10 and 20? Answer with the number alone.", 2048)
		a.Request.Thinking = wire.Thinking{Mode: "enabled", Budget: 1024}
		return a, nil
	}
	a := got[0]
	says := c.Config.Capabilities.Thinking
	switch {
	case a.refused():
		return found(ability(Thinking, "thinking", says, false, "it refuses to reason ("+a.Failure.why()+")"))
	case a.Failure != nil:
		return found(c.trouble(Thinking, a.Failure))
	case a.reasons():
		return found(ability(Thinking, "thinking", says, true, "it reasons when it is asked to"))
	}
	return found(ability(Thinking, "thinking", says, false, "it answers without reasoning"))
}

// vision shows a red square and asks for its colour.
func vision(c *chart, got []Answer) (*Ask, []Finding) {
	if len(got) == 0 {
		a := c.ask("What colour is this square? Answer with one word.", 512)
		m := &a.Request.Messages[0]
		m.Blocks = append([]wire.Block{{Kind: wire.Image, MediaType: "image/png", Data: redSquare()}}, m.Blocks...)
		return a, nil
	}
	a := got[0]
	says := c.Config.Capabilities.Vision
	switch {
	case a.refused():
		return found(ability(Vision, "vision", says, false, "it refuses images ("+a.Failure.why()+")"))
	case a.Failure != nil:
		return found(c.trouble(Vision, a.Failure))
	case a.says("red"):
		return found(ability(Vision, "vision", says, true, "it sees the colour of an image"))
	}
	return found(ability(Vision, "vision", says, false, "it does not see the colour of an image"))
}

// redSquare is a PNG of 64 by 64 pixels, in base64: smaller ones are refused by
// some vendors.
func redSquare() string {
	img := image.NewPaletted(image.Rect(0, 0, 64, 64), color.Palette{color.NRGBA{R: 220, A: 255}})
	var b bytes.Buffer
	_ = png.Encode(&b, img) // into memory, and the image is sound
	return base64.StdEncoding.EncodeToString(b.Bytes())
}
