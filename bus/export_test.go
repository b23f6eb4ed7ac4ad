package bus

import "github.com/nats-io/nats.go"

// Conn returns the bus's own connection.
func Conn(b *Bus) *nats.Conn { return b.nc }
