package relay_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// dying is a bus under which the receiver dies: at the first publish to a
// stream it stores so many messages, and nobody hears of it.
type dying struct {
	*bus.Bus
	at     schemas.Stream
	stored int
	dead   chan struct{}
}

func (d *dying) Publish(ctx context.Context, s schemas.Stream, msgs []schemas.Message) ([]uint64, error) {
	if s != d.at {
		return d.Bus.Publish(ctx, s, msgs)
	}
	if n := min(d.stored, len(msgs)); n > 0 {
		if _, err := d.Bus.Publish(ctx, s, msgs[:n]); err != nil {
			return nil, err
		}
	}
	close(d.dead)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCrashTellsEachFactOnce has a row for every place at which the receiver
// may die. The server has forgotten all ids by the time the receiver is
// started again.
func TestCrashTellsEachFactOnce(t *testing.T) {
	const all = 1000
	rows := map[string]struct {
		at     schemas.Stream
		stored int
	}{
		"append, before raw":          {schemas.StreamRaw, 0},
		"raw published":               {schemas.StreamRaw, all},
		"raw acknowledged":            {schemas.StreamEvents, 0},
		"some events published":       {schemas.StreamEvents, 2},
		"all events published":        {schemas.StreamEvents, all},
		"twins published":             {schemas.StreamRestricted, all},
		"told, quarantine to come":    {schemas.StreamQuarantine, 0},
		"quarantine record published": {schemas.StreamQuarantine, all},
		"drift told":                  {schemas.StreamOps, all},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			b := bustest.Server(t, shortMemory)
			w := newWorld(t)
			first := w.accept("m1", "process p1 success\nprocess p2 success\nrestricted p3")
			w.accept("m2", "unusable")
			w.accept("m5", "drift transaction.mood")
			d := &dying{Bus: b, at: row.at, stored: row.stored, dead: make(chan struct{})}
			w.run(d)
			<-d.dead
			w.crash()
			forgotten(t, b)

			w.run(b)
			if again := w.accept("m1", "process p1 success\nprocess p2 success\nrestricted p3"); again.ID != first.ID {
				t.Errorf("the repeat was answered with id %s, want %s", again.ID, first.ID)
			}
			w.accept("m3", "process p4 success")
			w.drain()

			want := []string{"feed:process:p1:success", "feed:process:p2:success", "feed:process:p3:success", "feed:process:p4:success"}
			if diff := cmp.Diff(want, ids(t, b, schemas.StreamEvents)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"feed:process:p3:success:restricted"}, ids(t, b, schemas.StreamRestricted)); diff != "" {
				t.Errorf("twins (-want +got):\n%s", diff)
			}
			records := map[string]int{}
			for _, m := range messages(t, b, schemas.StreamQuarantine) {
				records[m.Header[schemas.HeaderDelivery][0]]++
			}
			if len(records) != 1 {
				t.Errorf("quarantine has records of %d deliveries, want 1", len(records))
			}
			raw := map[string]bool{}
			for _, m := range messages(t, b, schemas.StreamRaw) {
				raw[m.Header[schemas.HeaderDelivery][0]] = true
			}
			if len(raw) != 4 {
				t.Errorf("raw has %d deliveries, want 4", len(raw))
			}
			drifts := 0
			for _, subject := range subjects(t, b, schemas.StreamOps) {
				if subject == "postern.ops.feed.schema_drift" {
					drifts++
				}
			}
			if drifts != 1 {
				t.Errorf("the drift was told %d times", drifts)
			}
			eventually(t, "the journal is empty", func() bool { return w.journal.Stats().Entries == 0 })
		})
	}
}
