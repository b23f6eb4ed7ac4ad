package handlers

import (
	"strconv"
	"time"

	"github.com/seed75441868/postern/schemas"
)

const (
	firstMilli = 100_000_000_000     // 1973-03-03T09:46:40Z
	lastMilli  = 253_402_300_799_999 // the end of the year 9999
)

// Time returns a platform's time as RFC 3339. It keeps what is RFC 3339
// already to the letter, takes a date as the start of its day in UTC, and a
// whole number as milliseconds since 1970, unless that would be before March
// 1973: such a number is as likely one of seconds, or a date like 20260302. It
// reports whether s is any of them.
func Time(s string) (string, bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil && schemas.IsTime(s) && t.Year() > 0 {
		return s, true
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil && t.Year() > 0 {
		return t.Format(time.RFC3339), true
	}
	ms, err := strconv.ParseUint(s, 10, 63) // no sign
	if err != nil || ms < firstMilli || ms > lastMilli {
		return "", false
	}
	return schemas.FormatTime(time.UnixMilli(int64(ms))), true
}
