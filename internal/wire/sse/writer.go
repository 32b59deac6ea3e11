package sse

import "bytes"

// AppendEvent appends one frame: the event line unless name is empty, a data
// line for each line of data, and the blank line that ends it. name holds no
// line end.
func AppendEvent(dst []byte, name string, data []byte) []byte {
	return AppendLive(dst, "", name, data)
}

// AppendLive appends one frame with an id line before it, from which a reader
// resumes; an empty id is left out. id and name hold no line end.
func AppendLive(dst []byte, id, name string, data []byte) []byte {
	if id != "" {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	if name != "" {
		dst = append(append(append(dst, "event: "...), name...), '\n')
	}
	return append(appendLines(dst, "data: ", data), '\n')
}

// AppendComment appends a comment and the blank line after it. Clients skip
// comments; they keep a connection alive and tell people what happened.
func AppendComment(dst []byte, text string) []byte {
	return append(appendLines(dst, ": ", []byte(text)), '\n')
}

// appendLines writes text line by line, so that no line end in it can forge a
// field.
func appendLines(dst []byte, prefix string, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\n')
		if j := bytes.IndexByte(text[:max(i, 0)], '\r'); i >= 0 && j >= 0 {
			i = j
		} else if i < 0 {
			i = bytes.IndexByte(text, '\r')
		}
		dst = append(dst, prefix...)
		if i < 0 {
			return append(append(dst, text...), '\n')
		}
		dst = append(append(dst, text[:i]...), '\n')
		if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
		}
		text = text[i+1:]
	}
}
