package journal_test

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
)

func newKey() handlers.Secret {
	return handlers.NewSecret(base64.StdEncoding.EncodeToString(randomBytes(32)) + "\n")
}

func openKeyring(t *testing.T, dir string, seal ...handlers.Secret) *journal.Keyring {
	t.Helper()
	k, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir, Seal: seal})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// refused checks that the keys are refused, that the error says what to do,
// and that nothing was changed.
func refused(t *testing.T, c journal.KeyConfig, hints ...string) {
	t.Helper()
	before := contents(t, c.DataDir)
	_, err := journal.OpenKeyring(c)
	if !errors.Is(err, journal.ErrKey) {
		t.Errorf("got %v, want ErrKey", err)
		return
	}
	for _, hint := range hints {
		if !strings.Contains(err.Error(), hint) {
			t.Errorf("the error doesn't say %q: %v", hint, err)
		}
	}
	if diff := cmp.Diff(before, contents(t, c.DataDir)); diff != "" {
		t.Errorf("files were changed: %s", diff)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// put makes a file as the journal or the NATS store would.
func put(t *testing.T, dir string, path ...string) {
	t.Helper()
	name := filepath.Join(append([]string{dir}, path...)...)
	must(t, os.MkdirAll(filepath.Dir(name), 0o700))
	must(t, os.WriteFile(name, []byte("x"), 0o600))
}

func TestKeysAreMadeInAnEmptyFolderAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var said strings.Builder
	k, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"seal.key", "pseudonym.key"} {
		fi, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v", name, fi.Mode())
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text))); err != nil || len(key) != 32 {
			t.Errorf("%s is no key: %v", name, err)
		}
		if !strings.Contains(said.String(), name) || strings.Contains(said.String(), strings.TrimSpace(string(text))) {
			t.Errorf("what was said of %s: %s", name, said.String())
		}
	}
	put(t, dir, "journal", "000001.log")
	put(t, dir, "nats", "jetstream")
	again := openKeyring(t, dir)
	if again.Fingerprint() != k.Fingerprint() || again.PseudonymKey() != k.PseudonymKey() || again.PseudonymFingerprint() != k.PseudonymFingerprint() {
		t.Error("the keys are other ones the second time")
	}
	if names := slices.Collect(maps.Keys(contents(t, dir))); len(names) != 5 {
		t.Errorf("files were left behind: %v", names)
	}
}

func TestOneKeyIsMadeWhenSeveralStartAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	prints := make(chan string, 8)
	for range cap(prints) {
		wg.Go(func() {
			k, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			prints <- k.Fingerprint() + k.PseudonymFingerprint()
		})
	}
	wg.Wait()
	close(prints)
	first := <-prints
	for p := range prints {
		if p != first {
			t.Error("two of them have different keys")
		}
	}
}

func TestAMissingSealKeyRefusesToStart(t *testing.T) {
	for _, held := range []string{"journal", "nats"} {
		dir := t.TempDir()
		openKeyring(t, dir)
		put(t, dir, held, "file")
		must(t, os.Remove(filepath.Join(dir, "seal.key")))
		refused(t, journal.KeyConfig{DataDir: dir}, "seal.key", "seal.keys", "put it back")
		refused(t, journal.KeyConfig{DataDir: dir, Seal: []handlers.Secret{newKey()}}, "seal.keys")
	}
}

func TestAnotherSealKeyRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	old, other := newKey(), newKey()
	openKeyring(t, dir, old)
	put(t, dir, "journal", "file")
	refused(t, journal.KeyConfig{DataDir: dir, Seal: []handlers.Secret{other}}, "add it behind the first of seal.keys")
	must(t, os.WriteFile(filepath.Join(dir, "seal.key"), []byte(other.Value()), 0o600))
	refused(t, journal.KeyConfig{DataDir: dir}, "seal.keys")
	openKeyring(t, dir, old)
}

func TestWithoutTheFingerprintsNothingIsOpened(t *testing.T) {
	dir := t.TempDir()
	openKeyring(t, dir)
	put(t, dir, "journal", "file")
	must(t, os.Remove(filepath.Join(dir, "keys")))
	refused(t, journal.KeyConfig{DataDir: dir}, "restore that file")
	must(t, os.WriteFile(filepath.Join(dir, "keys"), []byte("seal 0011\n"), 0o600))
	refused(t, journal.KeyConfig{DataDir: dir}, "keys:1", "restore the file")
	must(t, os.WriteFile(filepath.Join(dir, "keys"), []byte("# x\nseel 0011223344556677\n"), 0o600))
	refused(t, journal.KeyConfig{DataDir: dir}, "keys:2")
}

func TestKeysRotate(t *testing.T) {
	dir := t.TempDir()
	one, two := newKey(), newKey()
	first := openKeyring(t, dir, one)
	sealed := first.Seal("test", []byte("old"))
	put(t, dir, "journal", "file")

	prepared := openKeyring(t, dir, one, two) // so that it can open what others seal
	if prepared.Fingerprint() != first.Fingerprint() {
		t.Error("the second key seals")
	}
	openKeyring(t, dir, one) // and it may go again, since it has sealed nothing

	rotated := openKeyring(t, dir, two, one)
	if rotated.Fingerprint() == first.Fingerprint() {
		t.Error("the first key doesn't seal")
	}
	if plain, err := rotated.Open("test", sealed); err != nil || string(plain) != "old" {
		t.Errorf("what the old key sealed: %q, %v", plain, err)
	}
	refused(t, journal.KeyConfig{DataDir: dir, Seal: []handlers.Secret{one}}, "seal.keys")
	refused(t, journal.KeyConfig{DataDir: dir, Seal: []handlers.Secret{two}}, "remove its line")

	// An operator knows that nothing is left that the old one sealed.
	text, err := os.ReadFile(filepath.Join(dir, "keys"))
	must(t, err)
	text = []byte(strings.Replace(string(text), "seal "+first.Fingerprint()+"\n", "", 1))
	must(t, os.WriteFile(filepath.Join(dir, "keys"), text, 0o600))
	alone := openKeyring(t, dir, two)
	if _, err := alone.Open("test", sealed); !errors.Is(err, journal.ErrUnknownKey) {
		t.Errorf("got %v, want ErrUnknownKey", err)
	}
}

func TestWhatIsNoKeyIsRefusedWithoutShowingIt(t *testing.T) {
	for _, text := range []string{"c2hvcnQ=", "not base64 at all!", base64.StdEncoding.EncodeToString(randomBytes(33))} {
		for name, c := range map[string]journal.KeyConfig{
			"seal.keys[1]":   {Seal: []handlers.Secret{newKey(), handlers.NewSecret(text)}},
			"pseudonyms.key": {Pseudonym: handlers.NewSecret(text)},
		} {
			c.DataDir = t.TempDir()
			_, err := journal.OpenKeyring(c)
			if !errors.Is(err, journal.ErrKey) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestThePseudonymKeyNeverChanges(t *testing.T) {
	dir := t.TempDir()
	key := newKey()
	k, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir, Pseudonym: key})
	must(t, err)
	put(t, dir, "journal", "file")
	refused(t, journal.KeyConfig{DataDir: dir, Pseudonym: newKey()}, k.PseudonymFingerprint(), "pseudonyms.key")
	refused(t, journal.KeyConfig{DataDir: dir}, "pseudonym.key", "put it back")
	again, err := journal.OpenKeyring(journal.KeyConfig{DataDir: dir, Pseudonym: key})
	must(t, err)
	if again.PseudonymKey() != k.PseudonymKey() {
		t.Error("it changed")
	}
}

func TestTheStoresKeyIsKeptSealed(t *testing.T) {
	dir := t.TempDir()
	one, two := newKey(), newKey()
	k := openKeyring(t, dir, one)
	key, err := k.StoreKey(dir)
	must(t, err)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 32 {
		t.Errorf("the key is %d bytes: %v", len(raw), err)
	}
	put(t, dir, "nats", "jetstream")
	for path, content := range contents(t, dir) {
		if strings.Contains(content, key) || strings.Contains(content, string(raw)) {
			t.Errorf("%s holds it in the clear", path)
		}
	}
	if again, err := k.StoreKey(dir); err != nil || again != key {
		t.Errorf("the second time it is another: %v", err)
	}
	before := contents(t, dir)[filepath.Join(dir, "nats.key")]
	rotated := openKeyring(t, dir, two, one)
	if again, err := rotated.StoreKey(dir); err != nil || again != key {
		t.Errorf("after a rotation it is another: %v", err)
	}
	if contents(t, dir)[filepath.Join(dir, "nats.key")] == before {
		t.Error("it was not sealed again after a rotation")
	}
	alone := openKeyring(t, t.TempDir(), two) // a keyring without the old key
	if again, err := alone.StoreKey(dir); err != nil || again != key {
		t.Errorf("without the old seal key it is another: %v", err)
	}
}

func TestAStoreWithoutItsKeyIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	k := openKeyring(t, dir)
	put(t, dir, "nats", "jetstream")
	if _, err := k.StoreKey(dir); !errors.Is(err, journal.ErrKey) || !strings.Contains(err.Error(), "nats.key") {
		t.Errorf("got %v, want ErrKey", err)
	}
	must(t, os.RemoveAll(filepath.Join(dir, "nats")))
	_, err := k.StoreKey(dir)
	must(t, err)
	before := contents(t, dir)
	other := openKeyring(t, t.TempDir())
	if _, err := other.StoreKey(dir); !errors.Is(err, journal.ErrKey) || !errors.Is(err, journal.ErrUnknownKey) {
		t.Errorf("got %v, want ErrKey and ErrUnknownKey", err)
	}
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("files were changed: %s", diff)
	}
}
