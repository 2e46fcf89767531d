package vectors

// wait is between least and most, in milliseconds, both included.
type wait struct {
	LeastMs float64 `json:"least_ms"`
	MostMs  float64 `json:"most_ms"`
}

// reconnect: the wait of a client's attempt (0, 1, …) to open a stream again: full
// jitter below a ceiling that doubles.
type reconnect struct {
	BaseMs  uint64 `json:"base_ms"`
	MaxMs   uint64 `json:"max_ms"`
	Attempt uint32 `json:"attempt"`
	// RetryAfterMs is what the broker asked for: at least that.
	RetryAfterMs uint64 `json:"retry_after_ms"`
	// Budget: without, retries go at the slowest pace, half of it at least.
	Budget bool `json:"budget"`
	wait
}

// redelivery: the broker's wait before attempt 2, 3, … of a record: the initial one,
// doubled, and a fifth more or less.
type redelivery struct {
	InitialMs uint64 `json:"initial_ms"`
	MaxMs     uint64 `json:"max_ms"`
	Attempt   uint32 `json:"attempt"`
	wait
}

func doubled(base, most uint64, times uint32) float64 {
	d := float64(base)
	for range times {
		if d >= float64(most) {
			break
		}
		d *= 2
	}
	return min(d, float64(most))
}

func retry() any {
	var reconnects []reconnect
	for _, r := range []reconnect{
		{BaseMs: 100, MaxMs: 20_000, Attempt: 0, Budget: true},
		{BaseMs: 100, MaxMs: 20_000, Attempt: 1, Budget: true},
		{BaseMs: 100, MaxMs: 20_000, Attempt: 7, Budget: true},
		{BaseMs: 100, MaxMs: 20_000, Attempt: 8, Budget: true},
		{BaseMs: 100, MaxMs: 20_000, Attempt: 1000, Budget: true},
		{BaseMs: 300, MaxMs: 100, Attempt: 0, Budget: true},
		{BaseMs: 100, MaxMs: 20_000, Attempt: 0, Budget: true, RetryAfterMs: 5_000},
		{BaseMs: 100, MaxMs: 20_000, Attempt: 0, Budget: false},
		{BaseMs: 100, MaxMs: 20_000, Attempt: 3, Budget: false, RetryAfterMs: 30_000},
	} {
		r.MostMs = doubled(r.BaseMs, r.MaxMs, r.Attempt)
		if !r.Budget {
			r.LeastMs, r.MostMs = float64(r.MaxMs)/2, float64(r.MaxMs)
		}
		r.LeastMs = max(r.LeastMs, float64(r.RetryAfterMs))
		r.MostMs = max(r.MostMs, float64(r.RetryAfterMs))
		reconnects = append(reconnects, r)
	}
	var redeliveries []redelivery
	for _, r := range []redelivery{
		{InitialMs: 200, MaxMs: 30_000, Attempt: 2},
		{InitialMs: 200, MaxMs: 30_000, Attempt: 3},
		{InitialMs: 200, MaxMs: 30_000, Attempt: 9},
		{InitialMs: 200, MaxMs: 30_000, Attempt: 10},
		{InitialMs: 200, MaxMs: 30_000, Attempt: 1000},
		{InitialMs: 1, MaxMs: 1, Attempt: 2},
	} {
		d := doubled(r.InitialMs, r.MaxMs, r.Attempt-2)
		r.LeastMs, r.MostMs = d*4/5, d*6/5
		redeliveries = append(redeliveries, r)
	}
	return map[string]any{"reconnect": reconnects, "redelivery": redeliveries}
}
