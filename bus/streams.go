package bus

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// Every stream and bucket has its own room, so that none can take another's.
// The shares are thousandths of what is left of MaxStore after the rejected
// pushes, and together all of it.
var shares = map[schemas.Stream]int64{
	schemas.StreamEvents:     350,
	schemas.StreamRaw:        400,
	schemas.StreamQuarantine: 100,
	schemas.StreamRestricted: 50,
	schemas.StreamOps:        30,
	schemas.StreamReplay:     20,
}

var bucketShares = map[string]int64{
	schemas.BucketState:   40,
	schemas.BucketCursors: 5,
	schemas.BucketLeases:  5,
}

const (
	// rejectedShare is what rejected pushes may take: that part of MaxStore,
	// but not more than maxRejected. They are at most 100 for each source.
	rejectedShare = 100
	maxRejected   = 128 << 20
	// maxReplay: replays are read at once, or made again.
	maxReplay = 1 << 30
	// rejectedKept is how many refused pushes of a source are kept.
	rejectedKept = 100
	// markerTTL is how long the end of a lease is told to those that watch.
	markerTTL = time.Minute
)

// ages are how long messages are kept. Quarantine is kept until handled.
var ages = map[schemas.Stream]time.Duration{
	schemas.StreamEvents:     30 * 24 * time.Hour,
	schemas.StreamRestricted: 30 * 24 * time.Hour,
	schemas.StreamRaw:        90 * 24 * time.Hour,
	schemas.StreamOps:        90 * 24 * time.Hour,
	schemas.StreamRejected:   7 * 24 * time.Hour,
	schemas.StreamReplay:     24 * time.Hour,
}

var descriptions = map[schemas.Stream]string{
	schemas.StreamEvents:     "Events without personal data.",
	schemas.StreamRestricted: "Twins of events, with what not everybody may see.",
	schemas.StreamRaw:        "Every authenticated delivery, sealed.",
	schemas.StreamQuarantine: "Deliveries that could not become events, sealed.",
	schemas.StreamRejected:   "The last refused pushes of each source, sealed.",
	schemas.StreamOps:        "What happens to the sources, and what operators do.",
	schemas.StreamReplay:     "What replays publish again.",
}

// wanted returns how the streams and buckets should be.
func (c Config) wanted() []jetstream.StreamConfig {
	var all []jetstream.StreamConfig
	for _, s := range schemas.Streams() {
		all = append(all, c.stream(s))
	}
	for _, b := range []string{schemas.BucketState, schemas.BucketCursors, schemas.BucketLeases} {
		all = append(all, c.bucket(b))
	}
	return all
}

func (c Config) stream(s schemas.Stream) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name:               string(s),
		Description:        descriptions[s],
		Subjects:           []string{s.Prefix() + ".>"},
		Storage:            jetstream.FileStorage,
		Discard:            jetstream.DiscardOld,
		MaxBytes:           c.maxBytes(s),
		MaxAge:             ages[s],
		MaxMsgs:            -1,
		MaxMsgSize:         -1,
		MaxConsumers:       -1,
		MaxMsgsPerSubject:  -1,
		Replicas:           c.Replicas,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
	if age, ok := c.Retention[s]; ok {
		config.MaxAge = age
	}
	switch s {
	case schemas.StreamEvents:
		config.Discard = jetstream.DiscardNew
		config.DenyDelete, config.DenyPurge = true, true
	case schemas.StreamRestricted, schemas.StreamQuarantine:
		// Old ones must not go because new ones come; an operator may
		// delete single ones: personal data, and what was handled.
		config.Discard = jetstream.DiscardNew
	case schemas.StreamRejected:
		config.MaxMsgsPerSubject = rejectedKept
	}
	config.Duplicates = c.DedupeWindow
	if config.MaxAge > 0 {
		config.Duplicates = min(config.Duplicates, config.MaxAge)
	}
	return config
}

// bucket returns the stream behind a key-value bucket, the way that clients
// expect one to be, and with atomic publish.
func (c Config) bucket(name string) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name:               "KV_" + name,
		Subjects:           []string{"$KV." + name + ".>"},
		Storage:            jetstream.FileStorage,
		Discard:            jetstream.DiscardNew,
		MaxBytes:           c.shared() / 1000 * bucketShares[name],
		MaxMsgs:            -1,
		MaxMsgSize:         -1,
		MaxConsumers:       -1,
		MaxMsgsPerSubject:  1,
		Replicas:           c.Replicas,
		Duplicates:         2 * time.Minute,
		AllowRollup:        true,
		DenyDelete:         true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
	if name == schemas.BucketLeases {
		config.AllowMsgTTL = true
		config.SubjectDeleteMarkerTTL = markerTTL
	}
	return config
}

func (c Config) maxBytes(s schemas.Stream) int64 {
	if n, ok := c.MaxBytes[s]; ok && n > 0 {
		return n
	}
	switch s {
	case schemas.StreamRejected:
		return c.rejected()
	case schemas.StreamReplay:
		return min(maxReplay, c.shared()/1000*shares[s])
	}
	return c.shared() / 1000 * shares[s]
}

func (c Config) rejected() int64 { return min(maxRejected, c.MaxStore/rejectedShare) }

func (c Config) shared() int64 { return c.MaxStore - c.rejected() }
