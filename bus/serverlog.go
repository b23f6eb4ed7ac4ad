package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
)

// serverLog writes the embedded server's lines to our log. What the server says
// about its clients' doings is only for debugging: clients choose the words.
type serverLog struct {
	log *slog.Logger

	mu  sync.Mutex
	err error
}

var ofClient = regexp.MustCompile(`^\S+ - [a-z]*id[_a-z]*:\d+ - `)

func (l *serverLog) line(level slog.Level, format string, v []any) {
	line := fmt.Sprintf(format, v...)
	if ofClient.MatchString(line) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "nats-server", "line", line)
}

// Noticef implements server.Logger.
func (l *serverLog) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.line(slog.LevelWarn, format, v) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.line(slog.LevelError, format, v) }

// Debugf implements server.Logger.
func (l *serverLog) Debugf(format string, v ...any) { l.line(slog.LevelDebug, format, v) }

// Tracef implements server.Logger. It writes nothing: a trace holds payloads.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf implements server.Logger. The server expects the process to end here;
// instead the start of the server fails.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.line(slog.LevelError, format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, fmt.Errorf(format, v...))
}

// fatal returns what the server could not go on after.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
