package journal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/seed75441868/postern/handlers"
)

// Files in data_dir.
const (
	sealKeyFile      = "seal.key"      // the seal key, if none is configured
	pseudonymKeyFile = "pseudonym.key" // the pseudonym key, if none is configured
	storeKeyFile     = "nats.key"      // the embedded NATS store's key, sealed
	fingerprintsFile = "keys"          // fingerprints of the keys that sealed what is here

	storeKeyContext = "embedded store key"
)

// ErrKey says that Postern can't start with the keys it was given: one is
// missing, is another than before, or is none. Nothing was changed.
var ErrKey = errors.New("wrong or missing key")

// KeyConfig says where the keys come from.
type KeyConfig struct {
	DataDir string
	// Seal lists seal keys, 32 bytes in base64 each: the first seals, all
	// open. If it is empty, they are kept in DataDir, a line each; one is made
	// there as long as DataDir holds neither a journal nor a NATS store.
	Seal []handlers.Secret
	// Pseudonym is the key of hashes of personal values, 32 bytes in base64.
	// If it has no value, the same holds as for the seal key.
	Pseudonym handlers.Secret
	Log       *slog.Logger // told when a key is made
}

// OpenKeyring returns the keys to work with. It fails with ErrKey, and changes
// nothing, if a key that sealed what is in the data directory is not among
// them, or if the pseudonym key is another than before. It records the
// fingerprint of a key before that key seals anything.
func OpenKeyring(c KeyConfig) (*Keyring, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	held, err := holdsData(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	recorded, err := readFingerprints(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	seal, err := c.sealKeys(held, recorded)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	pseudonym, err := c.pseudonymKey(held, recorded)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}

	k := &Keyring{first: seal[0].fingerprint(), keys: make(map[fingerprint]secretKey, len(seal)), pseudonym: pseudonym}
	for _, key := range seal {
		k.keys[key.fingerprint()] = key
	}
	now := recorded
	now.pseudonym = pseudonym.fingerprint().String()
	if first := k.first.String(); !slices.Contains(now.seal, first) {
		now.seal = append(slices.Clone(now.seal), first)
	}
	if !now.equal(recorded) {
		if err := writeFile(filepath.Join(c.DataDir, fingerprintsFile), now.text()); err != nil {
			return nil, fmt.Errorf("open keyring: %w", err)
		}
	}
	return k, nil
}

// sealKeys returns the configured or kept seal keys after checking that what
// is in the data directory can be opened with them.
func (c KeyConfig) sealKeys(held bool, recorded fingerprints) ([]secretKey, error) {
	keys := make([]secretKey, 0, len(c.Seal))
	for i, s := range c.Seal {
		key, err := parseKey(s.Value())
		if err != nil {
			return nil, fmt.Errorf("seal.keys[%d]: %w", i, err)
		}
		keys = append(keys, key)
	}
	if held && len(recorded.seal) == 0 {
		return nil, fmt.Errorf("%w: %s holds sealed data, but the file %q, which names the key that sealed it, is gone: restore that file",
			ErrKey, c.DataDir, fingerprintsFile)
	}
	if len(keys) == 0 {
		kept, err := c.keptKeys(sealKeyFile, held || len(recorded.seal) > 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s holds data sealed with the key %s, but no seal key is configured and the file %q is gone: put it back, or name the key under seal.keys",
				ErrKey, c.DataDir, recorded.seal[0], sealKeyFile)
		}
		if err != nil {
			return nil, err
		}
		keys = kept
	}
	for _, want := range recorded.seal {
		if !slices.ContainsFunc(keys, func(k secretKey) bool { return k.fingerprint().String() == want }) {
			return nil, fmt.Errorf("%w: %s holds data sealed with the key %s, which is not among the seal keys: add it behind the first of seal.keys (it may be in %q); only when nothing is left that it sealed, remove its line from the file %q",
				ErrKey, c.DataDir, want, sealKeyFile, fingerprintsFile)
		}
	}
	return keys, nil
}

func (c KeyConfig) pseudonymKey(held bool, recorded fingerprints) (secretKey, error) {
	var key secretKey
	var err error
	if v := c.Pseudonym.Value(); v != "" {
		if key, err = parseKey(v); err != nil {
			return secretKey{}, fmt.Errorf("pseudonyms.key: %w", err)
		}
	} else {
		kept, err := c.keptKeys(pseudonymKeyFile, held || recorded.pseudonym != "")
		if errors.Is(err, fs.ErrNotExist) {
			return secretKey{}, fmt.Errorf("%w: pseudonyms were made in %s before, but no pseudonym key is configured and the file %q is gone: put it back, or name the key under pseudonyms.key",
				ErrKey, c.DataDir, pseudonymKeyFile)
		}
		if err != nil {
			return secretKey{}, err
		}
		if len(kept) > 1 {
			return secretKey{}, fmt.Errorf("%w: the file %q holds more than one key: put the right one back alone", ErrKey, pseudonymKeyFile)
		}
		key = kept[0]
	}
	if got := key.fingerprint().String(); recorded.pseudonym != "" && recorded.pseudonym != got {
		return secretKey{}, fmt.Errorf("%w: pseudonyms in %s were made with the key %s, but this is the key %s, with which everybody would get another name: configure the former under pseudonyms.key",
			ErrKey, c.DataDir, recorded.pseudonym, got)
	}
	return key, nil
}

// keptKeys reads keys from the data directory, the first of them first, or
// makes one there unless there must be some already; then their absence is
// fs.ErrNotExist.
func (c KeyConfig) keptKeys(name string, mustExist bool) ([]secretKey, error) {
	path := filepath.Join(c.DataDir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !mustExist {
		var key secretKey
		rand.Read(key[:]) // never fails, says its documentation
		if err := createFile(path, key.text()); err != nil {
			return nil, err
		}
		if c.Log != nil {
			c.Log.Warn("made a key; keep a copy of it in another place, for without it nothing here can be read",
				"file", path, "fingerprint", key.fingerprint().String())
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// StoreKey returns the key of the embedded NATS store, 32 random bytes in
// base64, which lie sealed in the data directory. It makes the key only if
// there is neither a key nor a store, and fails with ErrKey if there is a
// store without a key or a key that no seal key opens. When an older seal key
// sealed it, it is sealed again under the first; the key itself never changes.
func (k *Keyring) StoreKey(dataDir string) (string, error) {
	path := filepath.Join(dataDir, storeKeyFile)
	sealed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := k.makeStoreKey(dataDir, path); err != nil {
			return "", err
		}
		sealed, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the store's key: %w", err)
	}
	key, err := k.Open(storeKeyContext, sealed)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w: put the seal key back that sealed it, or the file itself", ErrKey, path, err)
	}
	if fingerprint(sealed[1:1+fingerprintSize]) != k.first {
		if err := writeFile(path, string(k.Seal(storeKeyContext, key))); err != nil {
			return "", fmt.Errorf("seal the store's key again: %w", err)
		}
	}
	return base64.StdEncoding.EncodeToString(key), nil
}

func (k *Keyring) makeStoreKey(dataDir, path string) error {
	held, err := holdsFiles(filepath.Join(dataDir, "nats"))
	if err != nil {
		return fmt.Errorf("make the store's key: %w", err)
	}
	if held {
		return fmt.Errorf("%w: %s holds a NATS store, but its key %q is gone: put that file back", ErrKey, dataDir, storeKeyFile)
	}
	var key secretKey
	rand.Read(key[:]) // never fails, says its documentation
	if err := createFile(path, string(k.Seal(storeKeyContext, key[:]))); err != nil {
		return fmt.Errorf("make the store's key: %w", err)
	}
	return nil
}
