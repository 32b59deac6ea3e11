package operation

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

// Key is the place of an operation in every list: by name, then by age. It
// never changes, so that a walk over pages shows what is there all the time
// exactly once. The zero value is before all operations.
type Key struct {
	Name        string
	CreatedAtMS int64
	ID          ID
}

// Key returns the operation's place in lists.
func (m *Machine) Key() Key { return Key{m.Name, m.CreatedAtMS, m.ID} }

// Compare orders keys: names by their bytes, then time of creation, then id.
func (k Key) Compare(o Key) int {
	return cmp.Or(strings.Compare(k.Name, o.Name), cmp.Compare(k.CreatedAtMS, o.CreatedAtMS), k.ID.Compare(o.ID))
}

// IsZero reports whether k is the place before all operations.
func (k Key) IsZero() bool { return k == Key{} }

// cursorForm is the first byte of a cursor: another form gets another one.
const cursorForm = 1

// Cursor writes the key as lists hand it out: opaque, and safe in a URL. The
// zero key is "", from the beginning.
func (k Key) Cursor() string {
	if k.IsZero() {
		return ""
	}
	b := make([]byte, 0, 1+len(k.ID)+binary.MaxVarintLen64+len(k.Name))
	b = append(b, cursorForm)
	b = append(b, k.ID[:]...)
	b = binary.AppendVarint(b, k.CreatedAtMS)
	b = append(b, k.Name...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads what Cursor wrote. Anything else is an invalid_argument.
func ParseCursor(s string) (Key, error) {
	if s == "" {
		return Key{}, nil
	}
	var k Key
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err == nil && len(b) > 1+len(k.ID) && b[0] == cursorForm {
		copy(k.ID[:], b[1:])
		b = b[1+len(k.ID):]
		created, n := binary.Varint(b)
		if n > 0 {
			k.CreatedAtMS, k.Name = created, string(b[n:])
			if k.Cursor() == s { // one way to write each
				return k, nil
			}
		}
	}
	return Key{}, &Error{Code: CodeInvalidArgument, Action: ActList, Field: "cursor", Rule: "must be a cursor of this list"}
}

// Filter selects operations. The zero value selects all that are not archived.
type Filter struct {
	Statuses []Status // any of them; none = all
	Active   *bool    // live or ended; nil = both
	Kind     Kind     // NoKind = both
	Registry RegistryID
	Owner    string
	Child    string
	Labels   Labels // all of them
	Prefix   string // of the name
	Archived bool   // those that are archived instead
}

// Match reports whether the filter selects the operation.
func (f *Filter) Match(m *Machine, archived bool) bool {
	if f.Archived != archived ||
		len(f.Statuses) > 0 && !slices.Contains(f.Statuses, m.Status) ||
		f.Active != nil && *f.Active != m.Live() ||
		f.Kind != NoKind && f.Kind != m.Kind ||
		f.Registry != "" && f.Registry != m.Registry ||
		f.Owner != "" && f.Owner != m.Owner ||
		f.Child != "" && f.Child != m.Child ||
		!strings.HasPrefix(m.Name, f.Prefix) {
		return false
	}
	for k, v := range f.Labels {
		if have, ok := m.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// Start returns the place behind which the first page of the filter begins, so
// that a search for a prefix does not walk over all names before it.
func (f *Filter) Start() Key { return Key{Name: f.Prefix} }

// Past reports whether nothing from k on is selected: the names have left the
// prefix.
func (f *Filter) Past(k Key) bool {
	return k.Name > f.Prefix && !strings.HasPrefix(k.Name, f.Prefix)
}

// Item is one operation as a list goes over it.
type Item struct {
	Machine  *Machine
	Archived bool
}

// Page returns up to limit of the operations that f selects behind the place
// after, and the place to go on from: the zero key if that was all. ascend
// gives the operations at or behind a place in the order of their keys; it is
// the registry's index by key, or that of a narrower set (an owner's, a
// child's) that holds all that f selects.
func Page(ascend func(from Key) iter.Seq[Item], f Filter, after Key, limit int) (items []Item, next Key) {
	from := f.Start()
	if after.Compare(from) > 0 {
		from = after
	}
	for it := range ascend(from) {
		k := it.Machine.Key()
		if f.Past(k) {
			break
		}
		if !after.IsZero() && k.Compare(after) <= 0 || !f.Match(it.Machine, it.Archived) {
			continue
		}
		if len(items) == limit {
			if limit > 0 {
				next = items[limit-1].Machine.Key()
			}
			break
		}
		items = append(items, it)
	}
	return items, next
}
