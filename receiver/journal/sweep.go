package journal

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	sweepInterval = time.Minute // between steps
	sweepPause    = time.Hour   // between rounds
	sweepLimit    = 50_000      // claims looked at in a step
)

// sweepState says where the next step of sweeping begins.
type sweepState struct {
	from  []byte    // nil: a new round
	after time.Time // when the next round may begin
}

// housekeep fills the filters, sweeps claims and notes totals until the
// journal is closed.
func (j *Journal) housekeep() {
	defer close(j.stopped)
	j.fill(j.claims)
	j.fill(j.index.ids)
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-j.kick:
			j.noteTotals(pebble.NoSync)
			j.reclaimIfDue(reclaimEvery)
		case now := <-tick.C:
			if err := j.sweep(now, sweepLimit); err != nil {
				j.log.Error("can't sweep old claims", "error", err)
			}
			for _, f := range []*filter{j.claims, j.index.ids} {
				if f.stale() {
					j.fill(f)
				}
			}
			j.reclaimIfDue(reclaimWorth)
		}
	}
}

// nudge has housekeeping note the totals and reclaim space soon.
func (j *Journal) nudge() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

func (j *Journal) reclaimIfDue(bytes int64) {
	j.trimMu.Lock()
	due := j.trim.bytes >= bytes
	j.trimMu.Unlock()
	if !due {
		return
	}
	if err := j.reclaim(reclaimWorth); err != nil {
		j.log.Error("can't give the space of trimmed entries back yet", "error", err)
	}
}

func (j *Journal) fill(f *filter) {
	if err := f.fill(j.db, j.stop); err != nil {
		if f == j.index.ids {
			err = j.index.damage(err)
		}
		j.log.Error("can't fill a filter; look-ups are slower for it", "error", err)
	}
}

// sweep removes claims that have outlived their time, looking at so many at
// most. Claims lie in the order of their hashes, so a round looks at all of
// them; that needs no second key for each.
func (j *Journal) sweep(now time.Time, limit int) error {
	pos := &j.sweepPos
	if pos.from == nil {
		if now.Before(pos.after) {
			return nil
		}
		pos.from = []byte{prefixClaim}
	}
	old, next, err := j.oldClaims(pos.from, now, limit)
	if next != nil {
		pos.from = next
	} else {
		*pos = sweepState{after: now.Add(sweepPause)}
	}
	if err == nil && len(old) > 0 {
		err = j.dropClaims(old, now)
	}
	if err != nil {
		return fmt.Errorf("sweep claims: %w", err)
	}
	return nil
}

// oldClaim is a claim or conflict that has outlived its time.
type oldClaim struct {
	key   []byte
	claim hash16
}

// oldClaims looks at so many claims and returns the old ones among them, and
// the key to go on from, or nil if there are no more.
func (j *Journal) oldClaims(from []byte, now time.Time, limit int) (old []oldClaim, next []byte, _ error) {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{prefixConflict + 1}})
	if err != nil {
		return nil, nil, err
	}
	ok := it.First()
	for seen := 0; ok && seen < limit; seen++ {
		key := append([]byte(nil), it.Key()...)
		v, err := it.ValueAndErr()
		if err != nil {
			break // it.Error says so too
		}
		if made, valid := claimTime(v); valid && now.Sub(made) > claimLife {
			claim := hash16(v[:16]) // of a conflict
			if key[0] == prefixClaim {
				claim = hash16(key[1:])
			}
			old = append(old, oldClaim{key, claim})
		}
		if ok = it.Next(); ok {
			next = append(next[:0], it.Key()...)
		}
	}
	if !ok {
		next = nil
	}
	return old, next, errors.Join(it.Error(), it.Close())
}

// dropClaims removes claims that are still old. Like an append, it has each to
// itself meanwhile, or it might remove one that was just made anew.
func (j *Journal) dropClaims(old []oldClaim, now time.Time) error {
	b := j.db.NewBatch()
	mine := make(map[hash16]bool) // a claim and its conflicts come together
	for _, o := range old {
		if !mine[o.claim] {
			f, own := j.flights.join(o.claim, hash16{})
			if !own {
				continue // it comes again in the next round
			}
			defer j.flights.land(o.claim, f, false)
			mine[o.claim] = true
		}
		v, err := j.claimAt(o.key, now)
		if err != nil {
			return errors.Join(err, b.Close())
		}
		if v != nil {
			continue
		}
		if err := b.Delete(o.key, nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	j.claims.dropped.Add(int64(b.Count()))
	j.commit(b, pebble.NoSync)
	return nil
}
