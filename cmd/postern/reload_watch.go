package main

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/seed75441868/postern/receiver/ops"
)

const (
	// lookEvery is how often files are looked at. Their content is compared,
	// whatever the file system says: mounted secrets swap links.
	lookEvery = 5 * time.Second
	// settleFor is how long a change must have lasted to be believed, so that
	// half a file, or a certificate without its key, is not taken for one.
	settleFor = time.Second
)

// watch reloads when somebody asks by a signal, and when what the
// configuration was read from changes, until ctx ends.
func (r *reloader) watch(ctx context.Context) {
	timer := time.NewTimer(r.every)
	defer timer.Stop()
	var before seen // what has changed, at the last look; nil if nothing has
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.from.hangups:
			r.answer(ctx, actorSignal)
			before = nil
		case <-timer.C:
			var settled bool
			if before, settled = r.look(before); settled {
				r.answer(ctx, actorFiles)
				before = nil
			}
			if before != nil {
				timer.Reset(r.settle)
			} else {
				timer.Reset(r.every)
			}
		}
	}
}

// look returns what the files are now, or nil if the last reload saw the same,
// and whether they were so at the last look, too.
func (r *reloader) look(before seen) (now seen, settled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now = r.seen.again()
	if maps.Equal(now, r.seen) {
		return nil, false
	}
	return now, before != nil && maps.Equal(now, before)
}

// answer reloads for somebody who reads only the log.
func (r *reloader) answer(ctx context.Context, actor string) {
	if _, err := r.reload(ctx, actor); errors.Is(err, ops.ErrEnding) {
		r.app.log.Warn("the configuration is not reloaded", "actor", actor, "reason", err.Error())
	}
}
