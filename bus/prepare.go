package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// drift is what streams have that the configuration doesn't want.
type drift struct {
	mu    sync.Mutex
	lines []string
}

// Prepare returns nil once there is a connection and every stream and bucket
// exists. It creates those that are missing. One that was there
// before and has no leader just now counts as there. Those that exist it leaves as they
// are, see [Bus.Drift], with one exception: on the embedded server, which nobody
// else changes, ages, windows and room that grows follow the configuration. It
// is safe to repeat. Its errors are transient, unless
// they wrap [ErrUnrecovered]: then nothing was created. After any other the next
// call goes on with what is still missing; a cluster that is busy may take many
// seconds for each. Nothing is created
// either on a server that is older than 2.12, which lacks what we rely on and
// doesn't say so: then an error names the version that is needed.
func (b *Bus) Prepare(ctx context.Context) error {
	if err := b.waitConnected(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	b.prepare.Lock()
	defer b.prepare.Unlock()
	if err := b.checkVersion(); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}

	wanted := b.cfg.wanted()
	var missing []jetstream.StreamConfig
	var unrecovered, lines []string
	for i, s := range b.lookAll(ctx, wanted) {
		want, have, err := wanted[i], s.have, s.err
		switch {
		case err == nil:
			b.seen[want.Name] = have
			lines = append(lines, differences(want, have)...)
		case errors.Is(err, errTimeout) && b.seen[want.Name].Name != "":
			// It has no leader just now. Who needs it will find out; others
			// needn't wait for it.
			lines = append(lines, differences(want, b.seen[want.Name])...)
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return fmt.Errorf("prepare: %w", err)
		case b.server != nil && inUse(b.server.storeDir(want.Name)):
			unrecovered = append(unrecovered, want.Name)
		default:
			missing = append(missing, want)
		}
	}
	if unrecovered != nil {
		return fmt.Errorf("prepare: %s: %w", strings.Join(unrecovered, ", "), ErrUnrecovered)
	}
	more, err := b.create(ctx, missing)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	lines = append(lines, more...)
	b.drift.set(b, lines)
	return nil
}

// sighting is what was found of a stream.
type sighting struct {
	have jetstream.StreamConfig
	err  error
}

// lookAll returns how the streams are. In a cluster each may take its time, so
// that all are asked for at once; the embedded server also changes them, one
// after the other because they share its room.
func (b *Bus) lookAll(ctx context.Context, wanted []jetstream.StreamConfig) []sighting {
	found := make([]sighting, len(wanted))
	var all sync.WaitGroup
	for i, want := range wanted {
		one := func() { found[i].have, found[i].err = b.existing(ctx, want) }
		if b.server == nil {
			all.Go(one)
		} else {
			one()
		}
	}
	all.Wait()
	return found
}

// existing returns how a stream is that exists, once it follows what is wanted.
func (b *Bus) existing(ctx context.Context, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	ctx, cancel, err := b.attemptAt(ctx, schemas.Stream(want.Name))
	if err != nil {
		return want, err
	}
	defer cancel()
	stream, err := b.js.Stream(ctx, want.Name)
	if err != nil {
		return want, fmt.Errorf("%s: %w", want.Name, explained(ctx, err))
	}
	return b.follow(ctx, want, stream.CachedInfo().Config)
}

// follow changes the limits of a stream of the embedded server to what is
// wanted, and returns how the stream is then. Room doesn't shrink: that could
// take messages away that are only told there. Nor does it grow when the server
// refuses that, because all of the store has no room for it.
func (b *Bus) follow(ctx context.Context, want, have jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	if b.server == nil {
		return have, nil
	}
	next := have
	next.MaxAge, next.Duplicates = want.MaxAge, want.Duplicates
	if have.MaxBytes > 0 {
		next.MaxBytes = max(have.MaxBytes, want.MaxBytes)
	}
	changes := differences(next, have)
	if len(changes) == 0 {
		return have, nil
	}
	stream, err := b.js.UpdateStream(ctx, next)
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		b.log.Warn("a stream's limits can't follow the configuration", "stream", want.Name, "changes", strings.Join(changes, "; "), "error", err)
		if next.MaxBytes > have.MaxBytes { // the rest may be possible
			want.MaxBytes = have.MaxBytes
			return b.follow(ctx, want, have)
		}
		return have, nil
	case err != nil:
		return have, fmt.Errorf("change %s: %w", want.Name, explained(ctx, err))
	}
	b.log.Info("a stream's limits follow the configuration", "stream", want.Name, "changes", strings.Join(changes, "; "))
	return stream.CachedInfo().Config, nil
}

// create creates streams and returns how they differ from what was wanted: who
// prepares at the same time may have made one first. The embedded server creates
// them all at once, since each costs a number of syncs. In a cluster each costs
// elections, and many at once, from every receiver, take longer than they have.
func (b *Bus) create(ctx context.Context, missing []jetstream.StreamConfig) (lines []string, err error) {
	have := make([]jetstream.StreamConfig, len(missing))
	errs := make([]error, len(missing))
	var all sync.WaitGroup
	for i, want := range missing {
		one := func() { have[i], errs[i] = b.createOne(ctx, want) }
		if b.server != nil {
			all.Go(one)
			continue
		}
		if one(); errs[i] != nil {
			break
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, want := range missing {
		lines = append(lines, differences(want, have[i])...)
	}
	return lines, nil
}

// createOne creates a stream, or returns the one that somebody else made.
func (b *Bus) createOne(ctx context.Context, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	attempt, cancel, err := b.attempt(ctx)
	if err != nil {
		return want, err
	}
	defer cancel()
	if b.server != nil {
		// The server would go on with what a creation that was cut
		// short left there, and could not open it at its next start.
		if err := os.RemoveAll(b.server.storeDir(want.Name)); err != nil {
			return want, fmt.Errorf("remains of %s: %w", want.Name, err)
		}
	}
	_, err = b.js.CreateStream(attempt, want)
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) && b.server == nil:
		return b.existing(ctx, want)
	case err != nil:
		return want, fmt.Errorf("create %s: %w", want.Name, explained(attempt, err))
	}
	return want, nil
}

// Drift returns what the streams have that the configuration doesn't want, a
// line each, as of the last [Bus.Prepare]. What fits is for an operator to say.
func (b *Bus) Drift() []string {
	b.drift.mu.Lock()
	defer b.drift.mu.Unlock()
	return slices.Clone(b.drift.lines)
}

// set warns of what is new.
func (d *drift) set(b *Bus, lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, line := range lines {
		if !slices.Contains(d.lines, line) {
			b.log.Warn("a stream differs from the configuration", "difference", line)
		}
	}
	d.lines = lines
}

// inUse reports whether a stream's folder is one that the server should have
// opened. The server deletes what it holds when a stream is created in it. A
// creation that was cut short left neither a complete description nor messages.
func inUse(dir string) bool {
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return !errors.Is(err, os.ErrNotExist) // any other error: we can't tell
	}
	if exists(server.JetStreamMetaFile) && exists(server.JetStreamMetaFileSum) {
		return true
	}
	blocks, err := os.ReadDir(filepath.Join(dir, "msgs"))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	return slices.ContainsFunc(blocks, func(block os.DirEntry) bool {
		info, err := block.Info()
		return err != nil || strings.HasSuffix(block.Name(), ".blk") && info.Size() > 0
	})
}

func differences(want, have jetstream.StreamConfig) []string {
	var lines []string
	name := want.Name
	compare := func(field string, want, have any) {
		if !reflect.DeepEqual(want, have) {
			lines = append(lines, fmt.Sprintf("%s has %s %v instead of %v", name, field, have, want))
		}
	}
	compare("subjects", want.Subjects, have.Subjects)
	compare("retention", want.Retention, have.Retention)
	compare("storage", want.Storage, have.Storage)
	compare("compression", want.Compression, have.Compression)
	compare("discard", want.Discard, have.Discard)
	compare("max_bytes", want.MaxBytes, have.MaxBytes)
	compare("max_age", want.MaxAge, have.MaxAge)
	compare("max_msgs", want.MaxMsgs, have.MaxMsgs)
	compare("max_msgs_per_subject", want.MaxMsgsPerSubject, have.MaxMsgsPerSubject)
	compare("max_msg_size", want.MaxMsgSize, have.MaxMsgSize)
	compare("max_consumers", want.MaxConsumers, have.MaxConsumers)
	compare("replicas", want.Replicas, have.Replicas)
	compare("duplicate_window", want.Duplicates, have.Duplicates)
	compare("deny_delete", want.DenyDelete, have.DenyDelete)
	compare("deny_purge", want.DenyPurge, have.DenyPurge)
	compare("allow_rollup", want.AllowRollup, have.AllowRollup)
	compare("allow_direct", want.AllowDirect, have.AllowDirect)
	compare("allow_atomic", want.AllowAtomicPublish, have.AllowAtomicPublish)
	compare("allow_msg_ttl", want.AllowMsgTTL, have.AllowMsgTTL)
	compare("subject_delete_marker_ttl", want.SubjectDeleteMarkerTTL, have.SubjectDeleteMarkerTTL)
	compare("sealed", want.Sealed, have.Sealed)
	compare("no_ack", want.NoAck, have.NoAck)
	return lines
}
