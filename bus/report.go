package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamReport is how a stream, or the one behind a bucket, is and should be.
type StreamReport struct {
	Name            string
	Description     string
	Messages, Bytes uint64
	First, Last     uint64    // sequences of the oldest and the newest message
	FirstTime       time.Time // when they were stored; zero if there are none
	LastTime        time.Time

	// Consumers are the durable ones, a hundred at most.
	Consumers []ConsumerReport
	// Open counts what is in quarantine by source and reason.
	Open map[[2]string]uint64

	MaxBytes      int64         // -1: no limit
	MaxAge        time.Duration // 0: no limit
	MaxPerSubject int64         // -1: no limit
	// Refuses says what happens when it is full: it refuses what is new. The
	// others let their oldest go.
	Refuses  bool
	Replicas int
	// Drift is what it has that the configuration doesn't want, a line each.
	Drift []string
}

// ConsumerReport is how far a durable consumer is.
type ConsumerReport struct {
	Name    string
	Pending uint64 // messages that it has not been given yet
}

// Streams asks the server for all streams and buckets. Those that aren't there
// yet are an error; all errors are transient.
func (b *Bus) Streams(ctx context.Context) ([]StreamReport, error) {
	ctx, cancel, err := b.attempt(ctx)
	if err != nil {
		return nil, fmt.Errorf("report on streams: %w", err)
	}
	defer cancel()
	var reports []StreamReport
	for _, want := range b.cfg.wanted() {
		s, err := b.js.Stream(ctx, want.Name)
		if err != nil {
			return nil, fmt.Errorf("report on %s: %w", want.Name, explained(ctx, err))
		}
		more, err := b.streamGauges(ctx, want.Name)
		if err != nil {
			return nil, fmt.Errorf("report on %s: %w", want.Name, explained(ctx, err))
		}
		info := s.CachedInfo()
		r := StreamReport{
			Name: want.Name, Description: info.Config.Description,
			Messages: info.State.Msgs, Bytes: info.State.Bytes, Open: more.open,
			First: info.State.FirstSeq, Last: info.State.LastSeq,
			MaxBytes: info.Config.MaxBytes, MaxAge: info.Config.MaxAge, MaxPerSubject: info.Config.MaxMsgsPerSubject,
			Refuses: info.Config.Discard == jetstream.DiscardNew, Replicas: info.Config.Replicas,
			Drift: differences(want, info.Config),
		}
		for _, name := range slices.Sorted(maps.Keys(more.pending)) {
			r.Consumers = append(r.Consumers, ConsumerReport{name, more.pending[name]})
		}
		if r.Messages > 0 {
			r.FirstTime, r.LastTime = info.State.FirstTime, info.State.LastTime
		}
		reports = append(reports, r)
	}
	return reports, nil
}
