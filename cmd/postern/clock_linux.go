package main

import "syscall"

// clockError is what adjtimex returns while nothing keeps the clock right
// (TIME_ERROR, adjtimex(2)).
const clockError = 5

// clockIsKept reports whether something keeps the system's clock right, and
// whether that is known.
func clockIsKept() (kept, known bool) {
	state, err := syscall.Adjtimex(&syscall.Timex{})
	return state != clockError, err == nil
}
