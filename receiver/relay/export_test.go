package relay

import "time"

// SetClock has r take the time from now.
func (r *Refusals) SetClock(now func() time.Time) { r.now = now }
