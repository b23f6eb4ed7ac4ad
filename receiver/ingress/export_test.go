package ingress

import "time"

// Recheck lets tests look at the files more often.
func (c *Certificate) Recheck(d time.Duration) { c.recheck = d }
