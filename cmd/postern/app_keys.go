package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// sharedKeysEntry is where, in the bucket for cursors, the fingerprints of the
// keys lie that all receivers on one NATS work with. No source is named postern.
const sharedKeysEntry = "postern.keys"

// sharedKeys are fingerprints.
type sharedKeys struct {
	Seal      string `json:"seal"` // of the key that seals
	Pseudonym string `json:"pseudonym"`
}

// differ returns which of a receiver's own keys is another than recorded, and
// what to do; nil if none is. A receiver may seal with another key than
// recorded if it opens what that sealed.
func (own sharedKeys) differ(recorded sharedKeys, opens func(fingerprint string) bool) error {
	switch {
	case recorded.Pseudonym != own.Pseudonym:
		return fmt.Errorf("the pseudonym key is not that of the other receivers on this NATS: theirs is %s, this one's is %s, with which everybody would get another name: configure theirs under pseudonyms.key",
			recorded.Pseudonym, own.Pseudonym)
	case recorded.Seal != own.Seal && !opens(recorded.Seal):
		return fmt.Errorf("the seal key is not that of the other receivers on this NATS: theirs is %s, which is not among this one's, of which %s seals: add theirs to seal.keys",
			recorded.Seal, own.Seal)
	}
	return nil
}

// recordedKeys returns what is recorded on a bus, with the revision 0 if
// nothing is.
func recordedKeys(ctx context.Context, b *bus.Bus) (recorded sharedKeys, revision uint64, err error) {
	e, err := b.Load(ctx, schemas.BucketCursors, sharedKeysEntry)
	if err != nil || e.Revision == 0 {
		return recorded, 0, err
	}
	err = json.Unmarshal(e.Value, &recorded)
	if err != nil || recorded.Seal == "" || recorded.Pseudonym == "" {
		err = fmt.Errorf("the entry %s of %s, which says with which keys the receivers on this NATS work, is damaged: put it back from a backup of NATS, or delete it when all receivers have the same keys",
			sharedKeysEntry, schemas.BucketCursors)
	}
	return recorded, e.Revision, err
}

// keyedBus is a bus that is not prepared before our keys are known to be those
// of all receivers on it: nobody could open what another one sealed, and the
// same person would have two names.
type keyedBus struct {
	*bus.Bus
	keys *journal.Keyring
	// shared is whether others use the bus. The keys of an embedded one are
	// those of its data_dir.
	shared bool

	trouble atomic.Pointer[error] // why the keys are not agreed on, if that is known
	once    sync.Once
	agreed  chan struct{} // closed when they were, for the first time
}

func newKeyedBus(b *bus.Bus, keys *journal.Keyring, shared bool) *keyedBus {
	return &keyedBus{Bus: b, keys: keys, shared: shared, agreed: make(chan struct{})}
}

// Prepare does what [bus.Bus.Prepare] does, and compares the keys. It is safe
// to repeat.
func (k *keyedBus) Prepare(ctx context.Context) error {
	if err := k.Bus.Prepare(ctx); err != nil {
		return err
	}
	if k.shared {
		if err := k.agree(ctx); err != nil {
			return err
		}
	}
	k.once.Do(func() { close(k.agreed) })
	return nil
}

// wait returns when the keys are agreed on, or ctx ends, and reports whether
// they are.
func (k *keyedBus) wait(ctx context.Context) bool {
	select {
	case <-k.agreed:
		return true
	case <-ctx.Done():
		return false
	}
}

// wrong returns why the keys are not agreed on, if that is known.
func (k *keyedBus) wrong() error {
	if err := k.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

var errKeysMoved = errors.New("another receiver is recording its keys just now")

// agree compares the keys with those that are recorded, and records them if
// there are none, or if the key that seals is a newer one.
func (k *keyedBus) agree(ctx context.Context) error {
	recorded, revision, err := recordedKeys(ctx, k.Bus)
	own := sharedKeys{Seal: k.keys.Fingerprint(), Pseudonym: k.keys.PseudonymFingerprint()}
	if revision != 0 && err == nil {
		err = own.differ(recorded, k.keys.Opens)
	}
	if revision != 0 {
		if err != nil {
			k.trouble.Store(&err)
			return err
		}
		k.trouble.Store(nil)
	}
	if err != nil || own == recorded {
		return err
	}
	value, err := json.Marshal(own, json.Deterministic(true))
	if err != nil {
		return err
	}
	revisions, err := k.Store(ctx, schemas.BucketCursors, []schemas.Put{{Key: sharedKeysEntry, Value: value, Base: revision}})
	if err == nil && revisions[0] == 0 {
		err = errKeysMoved
	}
	return err
}
