package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrConfigured says that keys can't be rotated here because the configuration
// names them: who writes that adds one.
var ErrConfigured = errors.New("the configuration names the keys")

// parseKeys reads the keys of a file, a line each.
func parseKeys(text string) ([]secretKey, error) {
	var keys []secretKey
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		key, err := parseKey(line)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Rotate makes a new seal key and puts it in front of those that the data
// directory keeps, which go on opening what they sealed. Then it records the
// new key's fingerprint and seals the store's key again. Nothing else changes,
// and the journal must not be open, see [Lock].
//
// The one step that matters replaces a file as a whole. Wherever Rotate is cut
// short, either nothing has happened or the next OpenKeyring and StoreKey do
// the rest. It fails with ErrKey, and changes nothing, if the keys that are
// there aren't those of the data, and with ErrConfigured if c names seal keys.
func (c KeyConfig) Rotate() (*Keyring, error) {
	if len(c.Seal) > 0 {
		return nil, fmt.Errorf("rotate keys: %w", ErrConfigured)
	}
	path := filepath.Join(c.DataDir, sealKeyFile)
	kept, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("rotate keys: %w", err)
	}
	if err := c.checkKeys(); err != nil {
		return nil, fmt.Errorf("rotate keys: %w", err)
	}
	var key secretKey
	rand.Read(key[:]) // never fails, says its documentation
	if err := writeFile(path, key.text()+strings.TrimSpace(string(kept))+"\n"); err != nil {
		return nil, fmt.Errorf("rotate keys: %w", err)
	}
	return c.settle()
}

// checkKeys returns nil if the keys open what is there.
func (c KeyConfig) checkKeys() error {
	_, err := c.settle()
	return err
}

// settle opens the keyring and, if there is a store, its key.
func (c KeyConfig) settle() (*Keyring, error) {
	k, err := OpenKeyring(c)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, storeKeyFile)); errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	_, err = k.StoreKey(c.DataDir)
	return k, err
}

// KnownKey is what may be told of a key.
type KnownKey struct {
	Use         string // "seal" or "pseudonym"
	Fingerprint string
	First       bool   // of the seal keys: it seals, the others only open
	Where       string // the setting or file that has it; "" if it is nowhere
	Used        bool   // something in the data directory was sealed or named with it
}

// List returns what may be told of the keys, those that are missing included.
// It makes nothing and changes nothing, and may be called beside a running
// receiver. It fails with ErrKey if a file or setting holds no key.
func (c KeyConfig) List() ([]KnownKey, error) {
	recorded, err := readFingerprints(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var known []KnownKey
	add := func(use, where, fingerprint string, used []string) {
		first := use == "seal" && !slices.ContainsFunc(known, func(k KnownKey) bool { return k.Use == use })
		known = append(known, KnownKey{use, fingerprint, first, where, slices.Contains(used, fingerprint)})
	}
	each := func(use, configured, file string, used []string) error {
		keys, err := parseKeys(configured)
		where := file
		if configured == "" {
			var text []byte
			where = filepath.Join(c.DataDir, file)
			if text, err = os.ReadFile(where); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil {
				keys, err = parseKeys(string(text))
			}
		}
		if err != nil {
			return fmt.Errorf("list keys: %s: %w", where, err)
		}
		for _, key := range keys {
			add(use, where, key.fingerprint().String(), used)
		}
		return nil
	}
	for i, s := range c.Seal {
		if err := each("seal", s.Value(), fmt.Sprintf("seal.keys[%d]", i), recorded.seal); err != nil {
			return nil, err
		}
	}
	if len(c.Seal) == 0 {
		if err := each("seal", "", sealKeyFile, recorded.seal); err != nil {
			return nil, err
		}
	}
	pseudonyms := []string{}
	if recorded.pseudonym != "" {
		pseudonyms = append(pseudonyms, recorded.pseudonym)
	}
	pseudonymFile := pseudonymKeyFile
	if c.Pseudonym.Value() != "" {
		pseudonymFile = "pseudonyms.key"
	}
	if err := each("pseudonym", c.Pseudonym.Value(), pseudonymFile, pseudonyms); err != nil {
		return nil, err
	}
	used := map[string][]string{"seal": recorded.seal, "pseudonym": pseudonyms}
	for _, use := range []string{"seal", "pseudonym"} {
		for _, fingerprint := range used[use] {
			if !slices.ContainsFunc(known, func(k KnownKey) bool { return k.Use == use && k.Fingerprint == fingerprint }) {
				known = append(known, KnownKey{Use: use, Fingerprint: fingerprint, Used: true})
			}
		}
	}
	return known, nil
}

// Lock keeps others from opening the journal in dir until the function that it
// returns is called. It fails with ErrInUse if a process has it open, and with
// [fs.ErrNotExist] if there is none.
func Lock(dir string) (unlock func() error, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("lock journal: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		return nil, fmt.Errorf("lock journal: %w: %s", ErrInUse, dir)
	}
	return lock.Close, nil
}

// Room returns how many bytes of the disk that holds dir are free for us, and
// how many it has.
func Room(dir string) (free, total uint64, err error) {
	usage, err := vfs.Default.GetDiskUsage(dir)
	return usage.AvailBytes, usage.TotalBytes, err
}
