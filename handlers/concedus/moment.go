package concedus

import (
	"regexp"
	"strconv"
	"time"
	_ "time/tzdata" // the zone of times that name none must be known everywhere

	"github.com/seed75441868/postern/schemas"
)

// berlin is where Concedus is: times that name no zone are local.
var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err) // it is linked in
	}
	return zone
}()

// moment is a time as Concedus said it, and what that means.
type moment struct {
	Raw string `json:"raw"`
	// At is RFC 3339, or a date if that is all that was said. It is "" if Raw is
	// in no form that is known.
	At string `json:"at,omitempty"`
	// Assumed says that no zone was named.
	Assumed bool `json:"assumed,omitzero"`
}

// impossibleZone ends the times of Concedus' product data.
var impossibleZone = regexp.MustCompile(`Z0+$`)

// layouts are the forms of times besides RFC 3339, in the order in which they
// are tried. Go takes a fraction behind seconds in all of them.
var layouts = []struct {
	layout string
	zone   *time.Location // of times that name none
}{
	{layout: "2006-01-02T15:04:05-0700"},
	{layout: "2006-01-02T15:04:05Z07:00"}, // with a comma before the fraction
	{layout: "2006-01-02T15:04:05", zone: berlin},
	{layout: "2006-01-02 15:04:05", zone: berlin},
	{layout: "2006-01-02T15:04", zone: berlin},
}

// readMoment reads a time in any of the forms that Concedus has. What is RFC
// 3339 is kept to the letter, and what is only a date stays one: it is a day in
// Germany, and no instant.
func readMoment(raw string) moment {
	m := moment{Raw: raw}
	s := impossibleZone.ReplaceAllString(raw, "Z")
	if t, err := time.Parse(time.RFC3339, s); err == nil && schemas.IsTime(s) && t.Year() > 0 {
		m.At = s
		return m
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil && t.Year() > 0 {
		m.At = s
		return m
	}
	for _, l := range layouts {
		zone := l.zone
		if zone == nil {
			zone = time.UTC
		}
		if t, err := time.ParseInLocation(l.layout, s, zone); err == nil && t.Year() > 0 {
			m.At, m.Assumed = t.Format(time.RFC3339Nano), l.zone != nil
			return m
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 1e8 && n < 1e11 {
		m.At = time.Unix(n, 0).UTC().Format(time.RFC3339)
	}
	return m
}

// instant returns when it was. A date is the beginning of its day in Germany.
func (m *moment) instant() (time.Time, bool) {
	if m == nil {
		return time.Time{}, false
	}
	if t, err := time.Parse(time.RFC3339, m.At); err == nil {
		return t, true
	}
	t, err := time.ParseInLocation(time.DateOnly, m.At, berlin)
	return t, err == nil
}

// rfc3339 returns the time in that form, "" if it can't be told.
func (m *moment) rfc3339() string {
	t, ok := m.instant()
	switch {
	case !ok:
		return ""
	case len(m.At) == len(time.DateOnly):
		return t.Format(time.RFC3339)
	}
	return m.At
}

// same reports whether two times are the same, however they are written.
func (m *moment) same(other *moment) bool {
	if m == nil || other == nil {
		return m == other
	}
	a, okA := m.instant()
	b, okB := other.instant()
	if !okA || !okB {
		return m.Raw == other.Raw
	}
	return a.Equal(b) && (len(m.At) == len(time.DateOnly)) == (len(other.At) == len(time.DateOnly))
}
