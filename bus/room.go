package bus

import "github.com/seed75441868/postern/schemas"

// Limit returns how many bytes a stream may hold.
func (c Config) Limit(s schemas.Stream) int64 { return withDefaults(c).maxBytes(s) }

// Room returns how many bytes all streams and buckets may hold together. A
// server that has less doesn't create them.
func (c Config) Room() int64 {
	c = withDefaults(c)
	var room int64
	for _, s := range schemas.Streams() {
		room += c.maxBytes(s)
	}
	for _, share := range bucketShares {
		room += c.shared() / 1000 * share
	}
	return room
}
