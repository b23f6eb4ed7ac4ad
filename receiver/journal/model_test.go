package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/receiver/journal"
)

// modelled is a journal beside what it must hold: after any crash, all that
// was accepted and not trimmed, nothing that was never offered, and of what
// was trimmed perhaps some.
type modelled struct {
	*mortal
	rt *rapid.T

	live    map[uint64]kept // accepted and not trimmed
	maybe   map[uint64]kept // trimmed since, so that a crash may bring it back
	claimed map[string][]string
	ids     map[string]string // delivery id by transport id and payload
	offered int
}

type kept struct {
	id, payload string
	conflict    bool
}

func (m *modelled) add(transport, payload string) {
	d, content := push(payload)
	r, err := m.Append(m.t.Context(), d, transport, content)
	if err != nil {
		m.rt.Fatal(err)
	}
	known := m.claimed[transport]
	want := journal.Accepted
	switch {
	case slices.Contains(known, payload):
		want = journal.Duplicate
	case len(known) > 0:
		want = journal.Conflict
	}
	if r.Outcome != want {
		m.rt.Fatalf("%q under %q: %v, want %v", payload, transport, r.Outcome, want)
	}
	key := transport + "\x00" + payload
	if id, ok := m.ids[key]; ok && id != r.ID {
		m.rt.Fatalf("%q under %q has the id %s, and had %s", payload, transport, r.ID, id)
	}
	m.ids[key] = r.ID
	if want == journal.Duplicate {
		return
	}
	m.claimed[transport] = append(known, payload)
	m.live[m.Stats().Last] = kept{r.ID, payload, want == journal.Conflict}
}

// observe reads everything from the beginning and compares.
func (m *modelled) observe(afterCrash bool) {
	seen := make(map[uint64]kept)
	if m.Stats().Entries > 0 {
		var after uint64
		for len(seen) < int(m.Stats().Entries) {
			entries, err := m.Read(m.t.Context(), after, 5, 1<<20)
			if err != nil {
				m.rt.Fatal(err)
			}
			for _, e := range entries {
				if e.Err != nil || e.Seq <= after {
					m.rt.Fatalf("after %d came %d, %v", after, e.Seq, e.Err)
				}
				after = e.Seq
				seen[e.Seq] = kept{e.Delivery.ID, string(e.Delivery.Payload), e.Delivery.Conflict}
			}
		}
	}
	var bytes int64
	for seq, k := range seen {
		bytes += sealedSize(k.payload)
		want, ok := m.live[seq]
		if !ok && afterCrash {
			want, ok = m.maybe[seq]
		}
		if !ok || want != k {
			m.rt.Fatalf("entry %d is %+v, want %+v, %t", seq, k, want, ok)
		}
	}
	for seq, k := range m.live {
		if _, ok := seen[seq]; !ok {
			m.rt.Fatalf("entry %d, %+v, is lost", seq, k)
		}
	}
	if s := m.Stats(); s.Entries != int64(len(seen)) || s.Bytes != bytes {
		m.rt.Fatalf("stats say %+v, and there are %d with %d bytes", s, len(seen), bytes)
	}
	if afterCrash {
		m.live = seen
		clear(m.maybe)
	}
}

// sealedSize is what a delivery of push takes.
func sealedSize(payload string) int64 {
	d, _ := push(payload)
	d.ID = fmt.Sprintf("%032d", 0)
	return int64(len(sizer.SealDelivery(d)))
}

var sizer *journal.Keyring

// TestTheJournalLosesAndInventsNothing plays appends, repeats, conflicts,
// trims, crashes and starts in any order.
func TestTheJournalLosesAndInventsNothing(t *testing.T) {
	sizer = keyring(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &modelled{
			mortal: newMortal(t, 0), rt: rt,
			live: make(map[uint64]kept), maybe: make(map[uint64]kept),
			claimed: make(map[string][]string), ids: make(map[string]string),
		}
		defer func() { closeJournal(t, m.Journal) }()
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(rt, "deliveries") {
					m.offered++
					m.add(fmt.Sprint("id ", m.offered), fmt.Sprint("payload ", m.offered))
				}
			},
			"repeat": func(rt *rapid.T) {
				m.add(rapid.SampledFrom([]string{"x", "y", "id 1"}).Draw(rt, "id"), rapid.SampledFrom([]string{"p", "q", "payload 1"}).Draw(rt, "payload"))
			},
			"trim": func(rt *rapid.T) {
				last := m.Stats().Last
				seqs := rapid.SliceOfN(rapid.Uint64Range(1, last+1), 1, 6).Draw(rt, "seqs")
				must(t, m.Trim(seqs...))
				m.forget(seqs)
			},
			"trim the first": func(rt *rapid.T) {
				n := rapid.IntRange(1, 20).Draw(rt, "n")
				all := slices.Sorted(mapKeys(m.live))
				all = all[:min(n, len(all))]
				must(t, m.Trim(all...))
				m.forget(all)
			},
			"reclaim": func(rt *rapid.T) {
				if rapid.Bool().Draw(rt, "flush") {
					must(t, m.Flush())
				}
				must(t, m.Reclaim())
				clear(m.maybe) // cut out of the tables, for good
			},
			"flush": func(*rapid.T) { must(t, m.Flush()) },
			"close": func(*rapid.T) {
				closeJournal(t, m.Journal)
				m.open()
				clear(m.maybe)
				m.observe(false)
			},
			"crash": func(rt *rapid.T) {
				m.crash(rapid.SampledFrom([]int{0, 30, 100}).Draw(rt, "unsynced"))
				m.observe(true)
			},
			"": func(*rapid.T) { m.observe(false) },
		})
	})
}

func (m *modelled) forget(seqs []uint64) {
	for _, seq := range seqs {
		if k, ok := m.live[seq]; ok {
			m.maybe[seq] = k
			delete(m.live, seq)
		}
	}
}

func mapKeys(m map[uint64]kept) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A power cut in the middle of appends by many: what was acknowledged is
// there, and what is there was offered.
func TestAPowerCutUnderLoadTakesNothingThatWasAcknowledged(t *testing.T) {
	for round := range 8 {
		fs := vfs.NewCrashableMem()
		c := config(t, "journal")
		j, err := journal.OpenFS(c, fs)
		if err != nil {
			t.Fatal(err)
		}
		const writers, each = 8, 40
		acked := make(chan string, writers*each)
		half := make(chan struct{})
		done := make(chan struct{})
		for w := range writers {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range each {
					payload := fmt.Sprint(w, "-", i)
					d, content := push(payload)
					if _, err := j.Append(t.Context(), d, payload, content); err != nil {
						t.Error(err)
						return
					}
					acked <- payload
					if w == 0 && i == each/3+round {
						close(half)
					}
				}
			}()
		}
		<-half
		// What was acknowledged before the cut must survive it.
		before := make(map[string]bool)
		for range len(acked) {
			before[<-acked] = true
		}
		cut := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, uint64(round)))})
		for range writers {
			<-done
		}
		closeJournal(t, j)

		if j, err = journal.OpenFS(c, cut); err != nil {
			t.Fatal(err)
		}
		if n := int(j.Stats().Entries); n < len(before) || n > writers*each {
			t.Errorf("%d entries, and %d were acknowledged", n, len(before))
		}
		for _, e := range readAll(t, j) {
			var w, i int
			if _, err := fmt.Sscanf(string(e.Delivery.Payload), "%d-%d", &w, &i); err != nil || e.Err != nil {
				t.Errorf("entry %d was never offered: %v", e.Seq, errors.Join(err, e.Err))
			}
			delete(before, string(e.Delivery.Payload))
		}
		if len(before) > 0 {
			t.Errorf("%d that were acknowledged are lost", len(before))
		}
		closeJournal(t, j)
	}
}
