package ingress_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// realJournal opens a journal in a folder of its own.
func realJournal(t testing.TB) *journal.Journal {
	t.Helper()
	return journalOf(t, 8<<30)
}

func journalOf(t testing.TB, maxBytes int64) *journal.Journal {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	keys, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Config{
		Dir: filepath.Join(dir, "journal"), MaxBytes: maxBytes, Reserve: 1 << 20, Keys: keys, Log: log,
		Fatal: func(err error) { panic(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// corastoneSource is a source whose pushes a signer signs.
func corastoneSource(t testing.TB, name string, s *corastonetest.Signer) handlers.Source {
	t.Helper()
	platform := corastone.Platform()
	settings := platform.Settings().(*corastone.Settings)
	settings.Push = &corastone.Push{
		Allow:        []handlers.Prefix{{Prefix: netip.MustParsePrefix("127.0.0.1/32")}, {Prefix: netip.MustParsePrefix(friend + "/32")}},
		Topics:       []string{corastonetest.Topic},
		Signature:    corastone.SignaturePinned,
		Certificates: []handlers.File{{Path: "sns.pem", Contents: []handlers.Contents{{Path: "sns.pem", Data: s.Certificate()}}}},
		MaxAge:       handlers.Duration(24 * 3600 * 1e9),
	}
	src, err := platform.Open(name, settings, handlers.Means{})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestSignedPushIsDurableInARealJournal(t *testing.T) {
	signer, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	j := realJournal(t)
	g := open(t, func(c *ingress.Config) {
		c.Journal = j
		c.Sources = []handlers.Source{corastoneSource(t, "corastone", signer)}
	})
	node := corastonetest.NewNode(signer, corastonetest.Topic, 1)
	push := func(p corastonetest.Push) heard {
		return g.do(t, friend, http.MethodPost, "/hooks/corastone", strings.NewReader(string(p.Body)), p.Header)
	}
	signed, err := node.Notify(node.Process("createInvestment", "success", node.AssetID()))
	if err != nil {
		t.Fatal(err)
	}
	first := push(signed)
	if first.status != http.StatusOK {
		t.Fatalf("heard %d %s", first.status, first.body)
	}
	if again := push(signed); again.status != http.StatusOK || again.body != first.body {
		t.Errorf("a repeat heard %d %s", again.status, again.body)
	}
	forged := signed
	forged.Body = []byte(strings.Replace(string(signed.Body), "success", "failure", 1))
	wantError(t, push(forged), http.StatusForbidden, "forbidden")

	entries, err := j.Read(t.Context(), 0, 10, 1<<20)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	got := entries[0].Delivery
	if want := fmt.Sprintf(`{"id":"%s"}`, got.ID); first.body != want {
		t.Errorf("the answer is %s, the journal has %s", first.body, want)
	}
	if got.Source != "corastone" || got.Platform != corastone.Name || got.Channel != schemas.ChannelPush ||
		got.Role != corastone.RoleNotification || got.Stale || got.Conflict || got.Sent.IsZero() || got.Received.Before(got.Sent) {
		t.Errorf("kept as %+v", got)
	}
	if diff := cmp.Diff(sha256.Sum256(signed.Body), sha256.Sum256(got.Payload)); diff != "" {
		t.Error("the payload is not what was pushed")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := node.Notify(node.Process("createInvestment", "success", node.AssetID()))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, push(next), http.StatusServiceUnavailable, "unavailable")
}

// Who repeats a push that is durable, because our answer was lost, hears 200
// also when nothing new can be taken.
func TestRepeatIsAnsweredWhileTheJournalIsFull(t *testing.T) {
	signer, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	j := journalOf(t, 5000)
	g := open(t, func(c *ingress.Config) {
		c.Journal = j
		c.Sources = []handlers.Source{corastoneSource(t, "corastone", signer)}
	})
	node := corastonetest.NewNode(signer, corastonetest.Topic, 1)
	push := func(p corastonetest.Push) heard {
		return g.do(t, friend, http.MethodPost, "/hooks/corastone", strings.NewReader(string(p.Body)), p.Header)
	}
	var first corastonetest.Push
	var answer heard
	for n := 0; ; n++ {
		signed, err := node.Notify(node.Process("createInvestment", "success", node.AssetID()))
		if err != nil {
			t.Fatal(err)
		}
		h := push(signed)
		if n == 0 {
			first, answer = signed, h
		}
		if h.status != http.StatusOK {
			wantError(t, h, http.StatusServiceUnavailable, "unavailable")
			break
		}
		if n > 50 {
			t.Fatal("the journal never fills")
		}
	}
	if h := push(first); h.status != http.StatusOK || h.body != answer.body {
		t.Errorf("a repeat heard %d %s, want %s", h.status, h.body, answer.body)
	}
	if got := g.count(t, "corastone", "duplicate"); got != 1 {
		t.Errorf("%v count as duplicates", got)
	}
	if h := g.do(t, friend, http.MethodGet, "/readyz", nil, nil); h.status != http.StatusServiceUnavailable {
		t.Errorf("/readyz says %d", h.status)
	}
}
