//go:build !linux

package main

// clockIsKept reports whether something keeps the system's clock right, and
// whether that is known.
func clockIsKept() (kept, known bool) { return false, false }
