package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// The exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3
	exitNotFound    = 4
	exitNotAllowed  = 5
	exitUnavailable = 6
)

// exitError is an error that chooses the exit code and says what to do next.
type exitError struct {
	code int
	next string // what to do next; may be empty if err says it
	err  error  // nil: everything has been said already
}

// failf returns an error that ends the process with code. Next says what to do
// about it: "run `postern config init`".
func failf(code int, next, format string, args ...any) error {
	return &exitError{code: code, next: next, err: fmt.Errorf(format, args...)}
}

// silent returns an error that only sets the exit code.
func silent(code int) error { return &exitError{code: code} }

func (e *exitError) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitCode returns the code for what a command returned. An error that doesn't
// choose one is a failure.
func exitCode(err error) int {
	var exit *exitError
	var config *configError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &config):
		return exitConfig
	default:
		return exitFailed
	}
}

// explain writes to w what went wrong and what to do next.
func explain(w io.Writer, err error) {
	var config *configError
	if errors.As(err, &config) {
		for _, p := range config.problems {
			fmt.Fprintln(w, p)
		}
		fmt.Fprintf(w, "postern: the configuration has %s: correct them, then run `postern config check`\n",
			count(len(config.problems), "problem"))
		return
	}
	var exit *exitError
	if errors.As(err, &exit) && exit.err == nil {
		return
	}
	fmt.Fprintf(w, "postern: %s\n", strings.TrimSpace(err.Error()))
	if exit != nil && exit.next != "" {
		fmt.Fprintf(w, "next: %s\n", exit.next)
	}
}

// count returns "1 problem" or "2 problems".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
