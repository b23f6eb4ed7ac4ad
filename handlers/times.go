package handlers

import (
	"strconv"
	"time"

	"github.com/seed75441868/postern/schemas"
)

// Time returns a platform's time as RFC 3339. It keeps what is RFC 3339
// already to the letter, takes a date as the start of its day in UTC, and a
// whole number as milliseconds since 1970. It reports whether s is any of them.
func Time(s string) (string, bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil && schemas.IsTime(s) && t.Year() > 0 {
		return s, true
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil && t.Year() > 0 {
		return t.Format(time.RFC3339), true
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil || ms < 0 || ms > 253402300799999 {
		return "", false
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"), true
}
