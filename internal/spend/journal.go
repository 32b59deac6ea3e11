package spend

import (
	"encoding/json"
	"fmt"

	"github.com/dreyhq/drey"
)

// The machine's place in the journal: there is one for a home.
const (
	MachineName = "budget"
	MachineID   = "all"
)

// RowKind says what a Row tells.
type RowKind uint8

// The kinds. NoRow, the zero value, is nothing to be journaled.
const (
	NoRow       RowKind = iota
	RowReserved         // room was reserved: to be committed before the attempt leaves
	RowSettled          // an attempt was charged
	RowExceeded         // a budget had no room
)

var rowNames = [...]string{"", "budget-reserved", "budget-settled", "budget-exceeded"}

// String returns the name of the row's event.
func (k RowKind) String() string { return drey.NameOf(rowNames[:], k, "row") }

// UnmarshalText reads what String returns.
func (k *RowKind) UnmarshalText(b []byte) error { return drey.ParseName(rowNames[:], k, b, "row") }

// Row is one transition, as a value: Event is what the journal, the log and the
// live stream get of it. Which fields are used follows from Kind.
type Row struct {
	Kind RowKind
	Meta
	ID        uint64   // the reservation's; RowSettled without one: 0
	Payer     Payer    // RowReserved, RowSettled
	Amount    MicroUSD // what is or was reserved; RowExceeded: what was asked for
	Cost      MicroUSD // RowSettled: what is charged
	Estimated bool     // RowSettled
	Ending    Ending   // RowSettled
	Day       Date     // in which it counts
	Scope     Scope    // RowExceeded, with the next two
	Period    Period
	Cap       MicroUSD
}

// Event returns the row as the journal keeps it. NoRow has none, and gives the
// zero Event.
func (r *Row) Event() drey.Event {
	if r.Kind == NoRow {
		return drey.Event{}
	}
	e := drey.Event{
		At: r.At, Name: r.Kind.String(), Machine: MachineName, ID: MachineID,
		Cause: r.Cause, RequestID: r.RequestID,
	}
	f := make([]drey.Field, 0, 10)
	add := func(key string, value any) { f = append(f, drey.Field{Key: key, Value: value}) }
	if r.Kind == RowExceeded {
		e.Level = drey.Warn
		add("scope", r.Scope.String())
		add("period", r.Period.String())
		add("limit_usd", r.Cap.USD())
		add("asked_usd", r.Amount.USD())
	} else {
		if r.ID != 0 {
			add("reservation", r.ID)
		}
		add("provider", r.Payer.Provider)
		if r.Payer.Profile != "" {
			add("profile", r.Payer.Profile)
		}
		if r.Payer.Key != "" {
			add("key", r.Payer.Key)
		}
		add("reserved_micro_usd", int64(r.Amount))
	}
	if r.Kind == RowSettled {
		add("cost_micro_usd", int64(r.Cost))
		add("estimated", r.Estimated)
		add("ending", r.Ending.String())
	}
	day, _ := r.Day.MarshalText()
	add("day", string(day))
	e.Fields = f
	return e
}

// FromJournal returns the row that an event of the journal was. An event that no
// Row wrote is an error.
func FromJournal(e drey.Event) (Row, error) {
	r := Row{Meta: Meta{At: e.At, RequestID: e.RequestID, Cause: e.Cause}}
	wrong := func(err error) (Row, error) {
		return Row{}, fmt.Errorf("journal row %d (%s) of the budget: %w", e.Seq, e.Name, err)
	}
	if e.Machine != MachineName || e.ID != MachineID {
		return wrong(fmt.Errorf("it is of %s %q", e.Machine, e.ID))
	}
	if err := r.Kind.UnmarshalText([]byte(e.Name)); err != nil {
		return wrong(err)
	}
	var capUSD, askedUSD float64
	fields := map[string]any{"day": &r.Day}
	required := []string{"day"}
	switch r.Kind {
	case RowExceeded:
		fields["scope"], fields["period"] = &r.Scope, &r.Period
		fields["limit_usd"], fields["asked_usd"] = &capUSD, &askedUSD
		required = append(required, "scope", "period")
	case RowSettled:
		fields["cost_micro_usd"], fields["estimated"], fields["ending"] = &r.Cost, &r.Estimated, &r.Ending
		required = append(required, "cost_micro_usd")
		fallthrough
	case RowReserved:
		fields["reservation"], fields["reserved_micro_usd"] = &r.ID, &r.Amount
		fields["provider"], fields["profile"], fields["key"] = &r.Payer.Provider, &r.Payer.Profile, &r.Payer.Key
		required = append(required, "provider", "reserved_micro_usd")
	default:
		return wrong(fmt.Errorf("unknown row %q", e.Name))
	}
	seen := map[string]bool{}
	for _, f := range e.Fields {
		dst := fields[f.Key]
		if dst == nil {
			continue // a later version's
		}
		raw, ok := f.Value.(json.RawMessage)
		if !ok {
			var err error
			if raw, err = json.Marshal(f.Value); err != nil {
				return wrong(err)
			}
		}
		if err := json.Unmarshal(raw, dst); err != nil {
			return wrong(fmt.Errorf("field %s: %w", f.Key, err))
		}
		seen[f.Key] = true
	}
	for _, key := range required {
		if !seen[key] {
			return wrong(fmt.Errorf("field %s is missing", key))
		}
	}
	if r.Kind == RowReserved && r.ID == 0 {
		return wrong(fmt.Errorf("a reservation without its id"))
	}
	if r.Kind == RowExceeded {
		r.Cap, r.Amount = Dollars(capUSD), Dollars(askedUSD)
	}
	r.Amount, r.Cost = amount(r.Amount), amount(r.Cost)
	return r, nil
}

// Replay applies the rows of the journal since the machine's snapshot, and makes
// it the machine that wrote them. What was open then is open now: Recover comes
// next. On an error the machine is to be dropped.
func (m *Machine) Replay(tail []drey.Event) error {
	for i := range tail {
		row, err := FromJournal(tail[i])
		if err != nil {
			return err
		}
		m.apply(&row)
	}
	return nil
}

// snapshot is the machine's form in the store. What is reserved is not in it:
// it follows from the open reservations.
type snapshot struct {
	Today    Date          `json:"today"`
	Last     uint64        `json:"last_reservation"`
	Accounts []accountJSON `json:"accounts"`
	Open     []openJSON    `json:"open"`
}

type accountJSON struct {
	Scope Scope      `json:"scope"`
	Day   windowJSON `json:"day"`
	Month windowJSON `json:"month"`
}

type windowJSON struct {
	Index int32     `json:"index"`
	Spent MicroUSD  `json:"spent_micro_usd"`
	Told  *MicroUSD `json:"exceeded_limit_micro_usd,omitempty"` // window.told
}

func (w *window) json() windowJSON {
	j := windowJSON{Index: w.index, Spent: w.spent}
	if limit, ok := w.told.Value(); ok {
		j.Told = &limit
	}
	return j
}

func (j windowJSON) window() window {
	w := window{index: j.Index, spent: amount(j.Spent)}
	if j.Told != nil {
		w.told = CapAt(*j.Told)
	}
	return w
}

type openJSON struct {
	ID       uint64          `json:"reservation"`
	Provider drey.ProviderID `json:"provider"`
	Profile  drey.ProfileID  `json:"profile,omitempty"`
	Key      string          `json:"key,omitempty"`
	Amount   MicroUSD        `json:"reserved_micro_usd"`
	Day      Date            `json:"day"`
	Request  drey.RequestID  `json:"request_id,omitempty"`
}

// MarshalJSON writes the machine's snapshot. Equal machines have equal bytes.
func (m *Machine) MarshalJSON() ([]byte, error) {
	s := snapshot{Today: m.today, Last: m.last, Accounts: []accountJSON{}, Open: []openJSON{}}
	for _, scope := range m.scopes() {
		w := &m.accounts[scope].windows
		s.Accounts = append(s.Accounts, accountJSON{
			Scope: scope,
			Day:   w[Day].json(),
			Month: w[Month].json(),
		})
	}
	for _, r := range m.inOrder() {
		s.Open = append(s.Open, openJSON{r.id, r.payer.Provider, r.payer.Profile, r.payer.Key, r.amount, r.day, r.request})
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON wrote. On an error the machine is as it
// was.
func (m *Machine) UnmarshalJSON(b []byte) error {
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	next := Machine{today: s.Today, last: s.Last}
	for _, a := range s.Accounts {
		next.account(a.Scope).windows = [periods]window{
			Day:   a.Day.window(),
			Month: a.Month.window(),
		}
	}
	for _, o := range s.Open {
		if o.ID == 0 || o.ID > s.Last || next.open[o.ID] != nil {
			return fmt.Errorf("reservation %d was never made, or stands there twice", o.ID)
		}
		next.hold(&reservation{
			id: o.ID, payer: Payer{o.Provider, o.Profile, o.Key}, amount: amount(o.Amount), day: o.Day, request: o.Request,
		})
	}
	next.recount()
	*m = next
	return nil
}
