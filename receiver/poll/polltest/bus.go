// Package polltest has what stands in for the bus, the journal and the relay
// in tests of pollers: in memory, in one process, and as strict as they are.
package polltest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed75441868/postern/schemas"
)

// ErrLost is why the context of who holds a lease ends when it is lost.
var ErrLost = errors.New("the lease is lost")

// Bus has buckets, leases and streams in memory. It behaves as package bus
// does, and can be shared by several receivers. It is safe for concurrent use.
type Bus struct {
	mu       sync.Mutex
	fail     error
	refuse   error // of Publish
	created  map[string]time.Time
	buckets  map[string]map[string]schemas.Entry
	deleted  map[string]map[string]uint64 // the revisions of markers
	revision uint64
	leases   map[string]*lease
	streams  map[schemas.Stream][]schemas.Message
	loads    int
	stores   int

	everything int // how often all was read
}

type lease struct {
	holder string
	end    context.CancelCauseFunc
}

// NewBus returns a bus whose buckets were just made, and have nothing.
func NewBus() *Bus {
	b := &Bus{
		created: map[string]time.Time{}, buckets: map[string]map[string]schemas.Entry{},
		deleted: map[string]map[string]uint64{},
		leases:  map[string]*lease{}, streams: map[schemas.Stream][]schemas.Message{},
	}
	b.Lose(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return b
}

// Lose makes buckets anew, at a time: those for states and for cursors if none
// is named.
func (b *Bus) Lose(at time.Time, buckets ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(buckets) == 0 {
		buckets = []string{schemas.BucketState, schemas.BucketCursors}
		b.revision = 0
	}
	for _, name := range buckets {
		b.created[name], b.buckets[name], b.deleted[name] = at, map[string]schemas.Entry{}, map[string]uint64{}
	}
}

// Fail makes everything fail with err, until it is nil.
func (b *Bus) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// FailPublishing makes Publish fail with err, until it is nil.
func (b *Bus) FailPublishing(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = err
}

// Load implements the pollers' bus.
func (b *Bus) Load(ctx context.Context, bucket, key string) (schemas.Entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := errors.Join(ctx.Err(), b.fail); err != nil {
		return schemas.Entry{}, err
	}
	b.loads++
	e, ok := b.buckets[bucket][key]
	if !ok {
		return schemas.Entry{Key: key}, nil
	}
	e.Value = bytes.Clone(e.Value)
	return e, nil
}

// Each implements the pollers' bus.
func (b *Bus) Each(ctx context.Context, bucket, prefix string, fn func(schemas.Entry) error) error {
	b.mu.Lock()
	b.everything++
	b.mu.Unlock()
	return b.each(ctx, bucket, prefix, 0, func(e schemas.Entry) error {
		if e.Value == nil {
			return nil
		}
		return fn(e)
	})
}

// Newer implements the pollers' bus.
func (b *Bus) Newer(ctx context.Context, bucket, prefix string, after uint64, fn func(schemas.Entry) error) error {
	return b.each(ctx, bucket, prefix, after, func(e schemas.Entry) error {
		if e.Value == nil {
			e.Revision = 0
		}
		return fn(e)
	})
}

// each tells entries in the order of their revisions. What was deleted has no
// value.
func (b *Bus) each(ctx context.Context, bucket, prefix string, after uint64, fn func(schemas.Entry) error) error {
	if prefix != "" && !strings.HasSuffix(prefix, ".") {
		return errors.New("a prefix must be whole tokens")
	}
	b.mu.Lock()
	err := errors.Join(ctx.Err(), b.fail)
	entries := make([]schemas.Entry, 0, len(b.buckets[bucket]))
	add := func(e schemas.Entry) {
		if strings.HasPrefix(e.Key, prefix) && e.Revision > after {
			entries = append(entries, e)
		}
	}
	for _, e := range b.buckets[bucket] {
		add(e)
	}
	for key, revision := range b.deleted[bucket] {
		add(schemas.Entry{Key: key, Revision: revision})
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b schemas.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, e := range entries {
		if err := fn(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Store implements the pollers' bus.
func (b *Bus) Store(ctx context.Context, bucket string, puts []schemas.Put) ([]uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := errors.Join(ctx.Err(), b.fail); err != nil {
		return nil, err
	}
	revisions := make([]uint64, len(puts))
	for i, p := range puts {
		if b.buckets[bucket][p.Key].Revision != p.Base {
			continue
		}
		b.revision++
		b.stores++
		delete(b.deleted[bucket], p.Key)
		revisions[i] = b.revision
		b.buckets[bucket][p.Key] = schemas.Entry{Key: p.Key, Value: bytes.Clone(p.Value), Revision: b.revision}
	}
	return revisions, nil
}

// Delete deletes what a bucket has under a key.
func (b *Bus) Delete(bucket, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revision++
	delete(b.buckets[bucket], key)
	b.deleted[bucket][key] = b.revision
}

// BucketState implements the pollers' bus.
func (b *Bus) BucketState(ctx context.Context, bucket string) (created time.Time, last uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.buckets[bucket] {
		last = max(last, e.Revision)
	}
	for _, revision := range b.deleted[bucket] {
		last = max(last, revision)
	}
	return b.created[bucket], last, errors.Join(ctx.Err(), b.fail)
}

// Publish implements the pollers' bus.
func (b *Bus) Publish(ctx context.Context, stream schemas.Stream, msgs []schemas.Message) ([]uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := errors.Join(ctx.Err(), b.fail, b.refuse); err != nil {
		return nil, err
	}
	seqs := make([]uint64, len(msgs))
	for i, m := range msgs {
		at := slices.IndexFunc(b.streams[stream], func(old schemas.Message) bool { return old.ID == m.ID })
		if at < 0 {
			at = len(b.streams[stream])
			b.streams[stream] = append(b.streams[stream], m)
		}
		seqs[i] = uint64(at + 1)
	}
	return seqs, nil
}

// Published returns the ids of what a stream has, in order.
func (b *Bus) Published(stream schemas.Stream) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for _, m := range b.streams[stream] {
		ids = append(ids, m.ID)
	}
	return ids
}

// Hold implements the pollers' bus.
func (b *Bus) Hold(ctx context.Context, name, holder string, fn func(ctx context.Context) error) (bool, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	l := &lease{holder: holder, end: end}
	b.mu.Lock()
	if err := errors.Join(ctx.Err(), b.fail); err != nil {
		b.mu.Unlock()
		return false, err
	}
	if b.leases[name] != nil {
		b.mu.Unlock()
		return false, nil
	}
	b.leases[name] = l
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.leases[name] == l {
			delete(b.leases, name)
		}
	}()
	return true, fn(ctx)
}

// Holders returns who has which lease.
func (b *Bus) Holders() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	holders := map[string]string{}
	for name, l := range b.leases {
		holders[name] = l.holder
	}
	return holders
}

// Take takes a lease away from who has it. Whether that one is told is up to
// the caller: a process that was stopped doesn't know.
func (b *Bus) Take(name string, told bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.leases[name]; l != nil {
		delete(b.leases, name)
		if told {
			l.end(ErrLost)
		}
	}
}

// Counts returns how many entries were loaded one by one, and stored.
func (b *Bus) Counts() (loads, stores int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loads, b.stores
}

// Readings returns how often all that a source has was read.
func (b *Bus) Readings() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.everything
}

// Entries returns what a bucket has.
func (b *Bus) Entries(bucket string) map[string]schemas.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.buckets[bucket])
}
