package journal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// Errors that opening something sealed wraps.
var (
	// ErrUnknownKey says that it was sealed with a key that the keyring
	// doesn't have.
	ErrUnknownKey = errors.New("sealed with a key that is not configured")
	// ErrDamaged says that it is not what was written: a byte is wrong.
	ErrDamaged = errors.New("damaged")
)

const (
	keySize         = 32
	fingerprintSize = 8

	sealVersion = 1
	// A sealed record is: version, fingerprint of the key, UTC day as days
	// since 1970; then the nonce, the ciphertext and the tag, as
	// cipher.NewGCMWithRandomNonce lays them out. What stands before the
	// nonce is authenticated too.
	sealHeader   = 1 + fingerprintSize + 4
	sealOverhead = sealHeader + 12 + 16

	deliveryContext = "delivery"
)

type fingerprint [fingerprintSize]byte

func (f fingerprint) String() string { return hex.EncodeToString(f[:]) }

type secretKey [keySize]byte

// parseKey reads a key as files and variables hold it: 32 bytes in base64.
func parseKey(text string) (secretKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != keySize {
		return secretKey{}, fmt.Errorf("%w: a key must be %d bytes in base64; make one with: openssl rand -base64 %d", ErrKey, keySize, keySize)
	}
	return secretKey(raw), nil
}

func (k secretKey) text() string { return base64.StdEncoding.EncodeToString(k[:]) + "\n" }

// fingerprint says which key it is and nothing about it.
func (k secretKey) fingerprint() fingerprint {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("postern key fingerprint"))
	return fingerprint(mac.Sum(nil)[:fingerprintSize])
}

// derive returns the cipher of a context and a day. With a key a day nobody
// seals so much under one that random nonces could meet (NIST SP 800-38D
// allows 2^32).
func (k secretKey) derive(context string, day uint32) cipher.AEAD {
	info := binary.BigEndian.AppendUint32([]byte("postern "+context+" "), day)
	key, err := hkdf.Key(sha256.New, k[:], nil, string(info), keySize)
	if err != nil {
		panic(err) // only if asked for more than 255 hashes
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only if the key had another length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only if it were not AES
	}
	return aead
}

// Keyring seals with its first key and opens with all. It is safe for
// concurrent use.
type Keyring struct {
	first     fingerprint
	keys      map[fingerprint]secretKey
	pseudonym secretKey

	mu      sync.RWMutex
	ciphers map[cipherName]cipher.AEAD
}

type cipherName struct {
	key     fingerprint
	context string
	day     uint32
}

// maxCiphers is how many derived ciphers are kept; a backlog spans few days.
const maxCiphers = 128

func (k *Keyring) cipher(name cipherName) (cipher.AEAD, error) {
	k.mu.RLock()
	aead, ok := k.ciphers[name]
	k.mu.RUnlock()
	if ok {
		return aead, nil
	}
	key, ok := k.keys[name.key]
	if !ok {
		return nil, ErrUnknownKey
	}
	aead = key.derive(name.context, name.day)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ciphers == nil || len(k.ciphers) >= maxCiphers {
		k.ciphers = make(map[cipherName]cipher.AEAD)
	}
	k.ciphers[name] = aead
	return aead, nil
}

// Seal returns plain encrypted and authenticated. Only Open with the same
// context opens it, so that what was sealed for one purpose can't be passed
// off as something else.
func (k *Keyring) Seal(context string, plain []byte) []byte {
	return k.seal(nil, context, time.Now(), plain)
}

// Open returns what was sealed in context, with whichever key of the keyring.
// It fails with ErrUnknownKey or ErrDamaged.
func (k *Keyring) Open(context string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return nil, fmt.Errorf("open what was sealed: %w", ErrDamaged)
	}
	header := sealed[:sealHeader]
	name := cipherName{
		key:     fingerprint(header[1 : 1+fingerprintSize]),
		context: context,
		day:     binary.BigEndian.Uint32(header[1+fingerprintSize:]),
	}
	aead, err := k.cipher(name)
	if err != nil {
		return nil, fmt.Errorf("open what was sealed: %w (fingerprint %s)", err, name.key)
	}
	plain, err := aead.Open(make([]byte, 0, len(sealed)-sealOverhead), nil, sealed[sealHeader:], header)
	if err != nil {
		return nil, fmt.Errorf("open what was sealed: %w", ErrDamaged)
	}
	return plain, nil
}

func (k *Keyring) seal(dst []byte, context string, at time.Time, plain []byte) []byte {
	name := cipherName{key: k.first, context: context, day: dayOf(at)}
	aead, err := k.cipher(name)
	if err != nil {
		panic(err) // the first key is one of the keys
	}
	start := len(dst)
	dst = append(dst, sealVersion)
	dst = append(dst, name.key[:]...)
	dst = binary.BigEndian.AppendUint32(dst, name.day)
	return aead.Seal(dst, nil, plain, dst[start:])
}

func dayOf(t time.Time) uint32 {
	const day = 24 * 60 * 60
	return uint32(max(t.Unix(), 0) / day)
}

// SealDelivery returns d as it goes into the journal and to POSTERN_RAW.
func (k *Keyring) SealDelivery(d handlers.Delivery) []byte {
	plain := appendDelivery(make([]byte, 0, len(d.Payload)+256), &d)
	return k.seal(make([]byte, 0, len(plain)+sealOverhead), deliveryContext, d.Received, plain)
}

// OpenDelivery returns the delivery that was sealed; times are in UTC. It
// fails with ErrUnknownKey or ErrDamaged.
func (k *Keyring) OpenDelivery(sealed []byte) (handlers.Delivery, error) {
	plain, err := k.Open(deliveryContext, sealed)
	if err != nil {
		return handlers.Delivery{}, err
	}
	d, err := decodeDelivery(plain)
	if err != nil {
		return handlers.Delivery{}, fmt.Errorf("read a delivery: %w", err)
	}
	return d, nil
}

// String names the first key; it tells nothing about any.
func (k *Keyring) String() string { return "keyring " + k.first.String() }

// GoString is String: printing a keyring must never print keys.
func (k *Keyring) GoString() string { return k.String() }

// Fingerprint says which key seals, as 16 hexadecimal digits. It tells nothing
// about the key.
func (k *Keyring) Fingerprint() string { return k.first.String() }

// Opens reports whether what the key with this fingerprint sealed can be opened.
func (k *Keyring) Opens(fingerprint string) bool {
	for own := range k.keys {
		if own.String() == fingerprint {
			return true
		}
	}
	return false
}

// PseudonymKey is the HMAC-SHA-256 key of all hashes of personal values.
func (k *Keyring) PseudonymKey() [32]byte { return k.pseudonym }

// PseudonymFingerprint says which key that is.
func (k *Keyring) PseudonymFingerprint() string { return k.pseudonym.fingerprint().String() }
