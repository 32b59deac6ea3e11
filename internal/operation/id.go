package operation

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"time"
)

// ID names one operation in the whole store. Those that drey mints are UUIDv7;
// of a caller any version is taken. It is compared by value, however it was
// written, and ordered by its bytes, which is the order of its text. The zero
// value is no operation.
type ID [16]byte

// IDAt returns the UUIDv7 of a moment and ten random bytes. It mints nothing:
// who calls it with fresh randomness does.
func IDAt(at time.Time, random [10]byte) ID {
	var id ID
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	copy(id[6:], random[:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads a UUID of any version in the form of 36 characters, upper or
// lower case.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("%q is not the id of an operation (a UUID)", s)
	}
	var digits [32]byte
	n := copy(digits[:], s[:8])
	n += copy(digits[n:], s[9:13])
	n += copy(digits[n:], s[14:18])
	n += copy(digits[n:], s[19:23])
	copy(digits[n:], s[24:])
	if _, err := hex.Decode(id[:], digits[:]); err != nil || id.IsZero() {
		return ID{}, fmt.Errorf("%q is not the id of an operation (a UUID)", s)
	}
	return id, nil
}

// IsZero reports whether id names no operation.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids by their bytes: those of drey by the time of minting.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// String returns the id in lower case, "" for the zero value.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// MarshalText writes String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what ParseID reads, and the empty text as no operation.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(b))
	*id = v
	return err
}
