package main

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lmittmann/tint"
)

const (
	maxLogText  = 300  // bytes of a text
	maxLogStack = 8192 // bytes of a stack
)

// newLogger returns a logger that writes to w what is at least of level, which
// may change later. With text it writes lines for people, in colours if color.
// Only attributes whose keys are in logKeys are written; texts are cut and
// hold no control characters. It is safe for concurrent use.
func newLogger(w io.Writer, level slog.Leveler, text, color bool) *slog.Logger {
	if text {
		return slog.New(&allowList{next: tint.NewTextHandler(w, &tint.Options{
			Level: level, TimeFormat: time.TimeOnly, NoColor: !color,
		})})
	}
	return slog.New(&allowList{next: slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})})
}

// logger returns the logger that the configuration asks for, writing to
// stderr: text on a terminal unless log.format is set, colours there unless
// NO_COLOR is set (https://no-color.org).
func (p *process) logger(cfg *Config, level slog.Leveler) *slog.Logger {
	terminal := isTerminal(p.stderr)
	text := cfg.Log.Format == "text"
	if _, set := cfg.origins["log.format"]; !set {
		text = terminal
	}
	return newLogger(p.stderr, level, text, terminal && environment(p.environ)["NO_COLOR"] == "")
}

// slogLevel returns the level of log.level, which has been validated.
func (l Log) slogLevel() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// isTerminal reports whether w is a terminal, or another device that nobody
// parses.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// allowList drops attributes that are not in logKeys and cleans the others.
type allowList struct {
	next slog.Handler
	deaf bool // in a group that is not in logKeys
}

// Enabled implements slog.Handler.
func (h *allowList) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *allowList) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, cleanText(r.Message, maxLogText), r.PC)
	if !h.deaf {
		r.Attrs(func(a slog.Attr) bool {
			if a, ok := allowed(a); ok {
				clean.AddAttrs(a)
			}
			return true
		})
	}
	return h.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *allowList) WithAttrs(attrs []slog.Attr) slog.Handler {
	if h.deaf {
		return h
	}
	if attrs = allowedAll(attrs); len(attrs) == 0 {
		return h
	}
	return &allowList{next: h.next.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *allowList) WithGroup(name string) slog.Handler {
	if h.deaf || name == "" {
		return h
	}
	if !logKeys[name] {
		return &allowList{next: h.next, deaf: true}
	}
	return &allowList{next: h.next.WithGroup(name)}
}

func allowedAll(attrs []slog.Attr) []slog.Attr {
	var kept []slog.Attr
	for _, a := range attrs {
		if a, ok := allowed(a); ok {
			kept = append(kept, a)
		}
	}
	return kept
}

// allowed returns a as it may be logged, or false if it may not.
func allowed(a slog.Attr) (slog.Attr, bool) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		// A group without a name stands for its attributes.
		if a.Key != "" && !logKeys[a.Key] {
			return slog.Attr{}, false
		}
		inner := allowedAll(v.Group())
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(inner...)}, len(inner) > 0
	}
	if !logKeys[a.Key] {
		return slog.Attr{}, false
	}
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, cleanValue(a.Key, v.String())), true
	case slog.KindAny:
		text, ok := textOf(v.Any())
		return slog.String(a.Key, cleanValue(a.Key, text)), ok
	default: // numbers, truths and times can't hold a payload
		return slog.Attr{Key: a.Key, Value: v}, true
	}
}

// textOf returns the text of what is written as one. All else could hold
// anything: it is not logged.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case error:
		return v.Error(), true
	case fmt.Stringer:
		return v.String(), true
	case encoding.TextMarshaler:
		return plain(v), true
	}
	if s := reflect.ValueOf(v); s.Kind() == reflect.String {
		return s.String(), true
	}
	return "", false
}

func cleanValue(key, text string) string {
	if key == "stack" {
		return cut(text, maxLogStack)
	}
	return cleanText(text, maxLogText)
}

// cleanText returns at most limit bytes of text, without control characters,
// so that nobody can make lines or colours of his own in a log.
func cleanText(text string, limit int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, cut(text, limit))
}

// cut returns at most limit bytes of text and whole characters only.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text[:min(len(text), limit+utf8.UTFMax)], "")
	if len(text) <= limit {
		return text
	}
	end := limit - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
