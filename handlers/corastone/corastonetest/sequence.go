package corastonetest

import (
	"sort"
	"time"
)

// sequence is what the Sequencer reads, by time.
type sequence struct {
	rows  []*sequenceRow
	mixed bool
}

type sequenceRow struct {
	at            time.Time
	transaction   *transaction
	orchestration *orchestration
	logged        *loggedError
	job           Job
}

func (s *sequence) add(r *sequenceRow) {
	s.mixed = s.mixed || len(s.rows) > 0 && s.rows[len(s.rows)-1].at.After(r.at)
	s.rows = append(s.rows, r)
}

// move puts an orchestration where it belongs when it has ended.
func (s *sequence) move(o *orchestration) {
	for i := len(s.rows) - 1; i >= 0; i-- {
		if s.rows[i].orchestration == o {
			r := s.rows[i]
			s.rows = append(s.rows[:i], s.rows[i+1:]...)
			r.at = o.ended
			s.add(r)
			return
		}
	}
}

// between returns what is between two times, both included.
func (s *sequence) between(from, to time.Time) []*sequenceRow {
	if s.mixed {
		sort.SliceStable(s.rows, func(i, j int) bool { return s.rows[i].at.Before(s.rows[j].at) })
		s.mixed = false
	}
	first := sort.Search(len(s.rows), func(i int) bool { return !s.rows[i].at.Before(from) })
	last := sort.Search(len(s.rows), func(i int) bool { return s.rows[i].at.After(to) })
	if first >= last {
		return nil
	}
	return s.rows[first:last]
}

// visible reports whether we may see a row.
func (r *sequenceRow) visible() bool {
	switch {
	case r.transaction != nil:
		return !r.transaction.hidden
	case r.orchestration != nil:
		return !r.orchestration.manner.hidden
	}
	return true
}

// entry returns a row as it is now.
func (r *sequenceRow) entry() Entry {
	switch {
	case r.transaction != nil:
		return r.transaction.row()
	case r.orchestration != nil:
		return r.orchestration.Orchestration
	case r.logged != nil:
		return r.logged.Error
	}
	return r.job
}
