package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

const canary = "CANARY-Jane-Doe"

// payload hides in everything that slog can print.
type payload struct{ Name string }

type lazy struct{ v slog.Value }

func (l lazy) LogValue() slog.Value { return l.v }

// logged returns what use logs, as lines for people or as JSON.
func logged(text bool, use func(*slog.Logger)) string {
	var out bytes.Buffer
	use(newLogger(&out, slog.LevelDebug, text, false))
	return out.String()
}

func TestUnknownAttributesAreNotLogged(t *testing.T) {
	long := "said " + strings.Repeat("x", 300) + canary
	for name, use := range map[string]func(*slog.Logger){
		"attribute":       func(l *slog.Logger) { l.Info("said", "payload", canary) },
		"with":            func(l *slog.Logger) { l.With("body", canary).Info("said") },
		"group":           func(l *slog.Logger) { l.Info("said", slog.Group("data", "source", canary)) },
		"in a group":      func(l *slog.Logger) { l.Info("said", slog.Group("source", "investor", canary)) },
		"nested":          func(l *slog.Logger) { l.Info("said", slog.Group("source", slog.Group("event", "key", canary))) },
		"nameless group":  func(l *slog.Logger) { l.Info("said", slog.Group("", "investor", canary)) },
		"with group":      func(l *slog.Logger) { l.WithGroup("data").Info("said", "source", canary) },
		"with group with": func(l *slog.Logger) { l.WithGroup("data").With("source", canary).Info("said") },
		"deep group":      func(l *slog.Logger) { l.WithGroup("data").WithGroup("source").Info("said", "event", canary) },
		"good group":      func(l *slog.Logger) { l.WithGroup("source").Info("said", "investor", canary) },
		"lazy group":      func(l *slog.Logger) { l.Info("said", "source", lazy{slog.GroupValue(slog.String("x", canary))}) },
		"struct":          func(l *slog.Logger) { l.Info("said", "event", payload{canary}) },
		"pointer":         func(l *slog.Logger) { l.Info("said", "event", &payload{canary}) },
		"map":             func(l *slog.Logger) { l.Info("said", "event", map[string]string{"n": canary}) },
		"bytes":           func(l *slog.Logger) { l.Info("said", "event", []byte(canary)) },
		"texts":           func(l *slog.Logger) { l.Info("said", "event", []string{canary}) },
		"secret":          func(l *slog.Logger) { l.Info("said", "event", handlers.NewSecret(canary)) },
		"no key":          func(l *slog.Logger) { l.Info("said", []any{canary}...) },
		"empty key":       func(l *slog.Logger) { l.Info("said", "", canary) },
		"other case":      func(l *slog.Logger) { l.Info("said", "Source", canary) },
		"long error":      func(l *slog.Logger) { l.Info("said", "error", errors.New(strings.Repeat("x", 300)+canary)) },
		"long text":       func(l *slog.Logger) { l.Info("said", "reason", strings.Repeat("x", 300)+canary) },
		"long message":    func(l *slog.Logger) { l.Info(long) }, //nolint:sloglint // a message that isn't constant is what is tested
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range []bool{false, true} {
				got := logged(text, use)
				if strings.Contains(got, canary) || strings.Contains(got, "Jane") {
					t.Errorf("logged: %s", got)
				}
				if !strings.Contains(got, "said") {
					t.Errorf("the message is missing: %q", got)
				}
			}
		})
	}
}

func TestKnownAttributesAreLogged(t *testing.T) {
	line := logged(false, func(l *slog.Logger) {
		l.With("source", "corastone").WithGroup("server").Warn("said",
			"error", errors.New("broken"),
			"stream", schemas.StreamEvents,
			"remote", netip.MustParseAddr("203.0.113.10"),
			"count", 3,
			"duration", 1500*time.Millisecond,
			"status", true,
			"event", lazy{slog.StringValue("e")},
			slog.Group("file", "path", "p", "gone", "x"),
			"reason", "a\nb\x1b[31m\u202ec\xff",
			"stack", "a\n\tb",
		)
	})
	var got map[string]any
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "WARN", "msg": "said", "source": "corastone",
		"server": map[string]any{
			"error": "broken", "stream": "POSTERN_EVENTS", "remote": "203.0.113.10", "count": 3.0,
			"duration": 1.5e9, "status": true, "event": "e", "file": map[string]any{"path": "p"},
			"reason": "a b [31m c", "stack": "a\n\tb",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line differs (-want +got):\n%s", diff)
	}
}

func TestTextIsCutBetweenCharacters(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{strings.Repeat("x", 300), strings.Repeat("x", 300)},
		{strings.Repeat("x", 301), strings.Repeat("x", 297) + "…"},
		{strings.Repeat("ä", 151), strings.Repeat("ä", 148) + "…"},
		{"", ""},
	} {
		if got := cleanText(tt.text, 300); got != tt.want {
			t.Errorf("%q became %q", tt.text, got)
		}
	}
}

func TestLevelMayChange(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	log := newLogger(&out, &level, false, false)
	log.Debug("one")
	level.Set(slog.LevelDebug)
	log.Debug("two")
	if got := out.String(); strings.Contains(got, "one") || !strings.Contains(got, "two") {
		t.Errorf("logged: %s", got)
	}
	for text, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		if got := (Log{Level: text}).slogLevel(); got != want {
			t.Errorf("%s is %v", text, got)
		}
	}
}

// Nobody's terminal is written to here, so format decides alone.
func TestFormat(t *testing.T) {
	t.Chdir(t.TempDir())
	for content, isJSON := range map[string]bool{
		"":                    true,
		"log: {format: json}": true,
		"log: {format: text}": false,
	} {
		write(t, "config.yaml", content)
		cfg, err := loadConfig([]string{"config.yaml"}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out writer
		p := &process{stderr: &out}
		p.logger(cfg, slog.LevelInfo).Info("said")
		if got := strings.HasPrefix(string(out), "{"); got != isJSON {
			t.Errorf("%q logs %s", content, out)
		}
		if strings.Contains(string(out), "\x1b") {
			t.Errorf("%q logs colours to a file: %q", content, out)
		}
	}
}
