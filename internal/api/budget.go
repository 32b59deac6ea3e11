package api

// Budgets are what was spent and what may still be: GET /budgets. They are the
// windows that are open now, by day and month of the UTC calendar: those of
// every scope with a limit, and of every other one that has spent something.
type Budgets struct {
	Budgets     []Budget `json:"budgets" doc:"the global one first, then providers, profiles and keys by name; day before month"`
	ReservedUSD float64  `json:"reserved_usd" doc:"held for attempts under way"`
	Open        int      `json:"open" doc:"how many attempts that is"`
}

// Budget is what one scope has spent in one period.
type Budget struct {
	Scope       string   `json:"scope" doc:"global, provider:NAME, profile:NAME or key:NAME"`
	Period      string   `json:"period" enum:"day,month"`
	SpentUSD    float64  `json:"spent_usd"`
	ReservedUSD float64  `json:"reserved_usd" doc:"held for attempts under way"`
	LimitUSD    *float64 `json:"limit_usd,omitempty" doc:"absent where there is no limit"`
	LeftUSD     *float64 `json:"left_usd,omitempty" doc:"what an attempt may still reserve; absent where there is no limit"`
	ResetsAt    string   `json:"resets_at" doc:"when the period ends"`
}
