package journal_test

import (
	"crypto/sha256"
	"log/slog"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

var arrived = time.Date(2025, 3, 9, 14, 5, 6, 789e6, time.UTC)

// keyring returns a keyring with keys of its own.
func keyring(t testing.TB) *journal.Keyring {
	t.Helper()
	k, err := journal.OpenKeyring(journal.KeyConfig{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// config returns the config of a roomy journal in dir.
func config(t testing.TB, dir string) journal.Config {
	t.Helper()
	return journal.Config{
		Dir: dir, MaxBytes: 1 << 30, Keys: keyring(t), Log: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { panic(err) },
	}
}

func openJournal(t testing.TB, c journal.Config) *journal.Journal {
	t.Helper()
	j, err := journal.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closeJournal(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// push returns a delivery with this payload, and its content.
func push(payload string) (handlers.Delivery, [32]byte) {
	return handlers.Delivery{
		Source: "alpha", Platform: "corastone", Channel: schemas.ChannelPush, Role: "notification",
		Received: arrived, Payload: []byte(payload),
	}, sha256.Sum256([]byte(payload))
}
