package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
)

// rotated returns a folder with a journal and a store key, its keyring before
// a rotation, and what is sealed and the store's key.
func rotated(t *testing.T) (dir string, sealed []byte, storeKey string) {
	t.Helper()
	dir = t.TempDir()
	k := openKeyring(t, dir)
	storeKey, err := k.StoreKey(dir)
	must(t, err)
	put(t, dir, "nats", "jetstream", "x")
	put(t, dir, "journal", "x")
	return dir, k.Seal("test", []byte("before")), storeKey
}

// opens checks that the keyring of dir opens what was sealed before, seals
// with another key than before, and that the store's key is the same.
func opens(t *testing.T, dir, before string, sealed []byte, storeKey string) {
	t.Helper()
	k := openKeyring(t, dir)
	if k.Fingerprint() == before {
		t.Error("the old key still seals")
	}
	if plain, err := k.Open("test", sealed); err != nil || string(plain) != "before" {
		t.Errorf("what the old key sealed opens as %q, %v", plain, err)
	}
	got, err := k.StoreKey(dir)
	must(t, err)
	if got != storeKey {
		t.Error("the store's key is another one")
	}
}

func TestRotatedKeysOpenWhatWasSealedBefore(t *testing.T) {
	dir, sealed, storeKey := rotated(t)
	before := openKeyring(t, dir).Fingerprint()
	for range 2 {
		k, err := journal.KeyConfig{DataDir: dir}.Rotate()
		must(t, err)
		opens(t, dir, before, sealed, storeKey)
		known, err := journal.KeyConfig{DataDir: dir}.List()
		must(t, err)
		if first := known[0]; first.Fingerprint != k.Fingerprint() || !first.First || !first.Used || known[1].First {
			t.Errorf("after a rotation the keys are %+v", known)
		}
		before = k.Fingerprint()
	}
}

// A rotation replaces seal.key, keys and nats.key in this order, each as a
// whole: these are all states in which it can be cut short.
func TestRotationCutShortIsFinishedByTheNextStart(t *testing.T) {
	dir, sealed, storeKey := rotated(t)
	first := openKeyring(t, dir).Fingerprint()
	before := contents(t, dir)
	_, err := journal.KeyConfig{DataDir: dir}.Rotate()
	must(t, err)
	after := contents(t, dir)
	files := []string{"seal.key", "keys", "nats.key"}
	changed := 0
	for name := range after {
		if after[name] != before[name] {
			changed++
		}
	}
	if changed != len(files) {
		t.Fatalf("a rotation changed %d files, want %d", changed, len(files))
	}
	for done := 1; done <= len(files); done++ {
		for i, name := range files {
			text := before[filepath.Join(dir, name)]
			if i < done {
				text = after[filepath.Join(dir, name)]
			}
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		opens(t, dir, first, sealed, storeKey)
	}
}

func TestRotationRefusesWrongKeysAndChangesNothing(t *testing.T) {
	dir, _, _ := rotated(t)
	key := filepath.Join(dir, "seal.key")
	right, err := os.ReadFile(key)
	must(t, err)
	must(t, os.WriteFile(key, []byte(newKey().Value()), 0o600))
	before := contents(t, dir)
	if _, err := (journal.KeyConfig{DataDir: dir}).Rotate(); !errors.Is(err, journal.ErrKey) {
		t.Errorf("with another key: %v, want ErrKey", err)
	}
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("it changed files: %s", diff)
	}
	must(t, os.WriteFile(key, right, 0o600))

	if _, err := (journal.KeyConfig{DataDir: dir, Seal: []handlers.Secret{newKey()}}).Rotate(); !errors.Is(err, journal.ErrConfigured) {
		t.Errorf("with configured keys: %v, want ErrConfigured", err)
	}
	if _, err := (journal.KeyConfig{DataDir: t.TempDir()}).Rotate(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in an empty folder: %v, want ErrNotExist", err)
	}

	// Without the new key, which sealed since, nothing starts any more.
	_, err = journal.KeyConfig{DataDir: dir}.Rotate()
	must(t, err)
	must(t, os.WriteFile(key, right, 0o600))
	refused(t, journal.KeyConfig{DataDir: dir}, "not among the seal keys")
}

func TestListTellsOfMissingKeysAndMakesNothing(t *testing.T) {
	dir, _, _ := rotated(t)
	fingerprint := openKeyring(t, dir).Fingerprint()
	must(t, os.Remove(filepath.Join(dir, "seal.key")))
	before := contents(t, dir)
	known, err := journal.KeyConfig{DataDir: dir}.List()
	must(t, err)
	missing := journal.KnownKey{Use: "seal", Fingerprint: fingerprint, Used: true}
	if len(known) != 2 || known[1] != missing {
		t.Errorf("got %+v, want a missing key %s", known, fingerprint)
	}
	configured, err := journal.KeyConfig{DataDir: dir, Seal: []handlers.Secret{newKey()}}.List()
	must(t, err)
	if first := configured[0]; first.Where != "seal.keys[0]" || first.Used || !first.First {
		t.Errorf("of a configured key it says %+v", first)
	}
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("it changed files: %s", diff)
	}
	for _, k := range append(known, configured...) {
		if strings.Contains(k.Where, "=") {
			t.Error("it tells a key")
		}
	}
}

func TestLockKeepsTheJournalFromBeingOpened(t *testing.T) {
	dir := t.TempDir()
	if _, err := journal.Lock(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no journal: %v, want ErrNotExist", err)
	}
	unlock, err := journal.Lock(dir)
	must(t, err)
	if _, err := journal.Lock(dir); !errors.Is(err, journal.ErrInUse) {
		t.Errorf("twice: %v, want ErrInUse", err)
	}
	must(t, unlock())
	unlock, err = journal.Lock(dir)
	must(t, err)
	must(t, unlock())
}
