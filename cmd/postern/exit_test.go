package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	config := &configError{problems: []Problem{{Position{"f.yaml", 1, 2}, "is wrong"}}}
	for _, tt := range []struct {
		err  error
		code int
		said string
	}{
		{nil, exitOK, ""},
		{errors.New("broken"), exitFailed, "postern: broken\n"},
		{failf(exitNotFound, "look elsewhere", "no event %q", "x"), exitNotFound, "postern: no event \"x\"\nnext: look elsewhere\n"},
		{fmt.Errorf("tail: %w", failf(exitUnavailable, "start it", "gone")), exitUnavailable, "postern: tail: gone\nnext: start it\n"},
		{silent(exitNotAllowed), exitNotAllowed, ""},
		{
			fmt.Errorf("load: %w", config), exitConfig,
			"f.yaml:1:2: is wrong\npostern: the configuration has 1 problem: correct them, then run `postern config check`\n",
		},
	} {
		if got := exitCode(tt.err); got != tt.code {
			t.Errorf("%v exits with %d, want %d", tt.err, got, tt.code)
		}
		var said strings.Builder
		if tt.err != nil {
			explain(&said, tt.err)
		}
		if said.String() != tt.said {
			t.Errorf("said %q, want %q", said.String(), tt.said)
		}
	}
	if got := failf(exitFailed, "", "read: %w", config); !errors.Is(got, config) {
		t.Error("failf hides its cause")
	}
}
