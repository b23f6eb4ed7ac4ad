package bus

import (
	"time"

	"github.com/nats-io/nats.go"
)

// Conn returns the bus's own connection.
func Conn(b *Bus) *nats.Conn { return b.nc }

// SetLease sets for how long leases hold, in whole seconds, and how often they
// are renewed.
func SetLease(b *Bus, ttl, renewal time.Duration) { b.lease = leaseTimes{ttl, renewal} }
