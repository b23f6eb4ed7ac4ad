package corastone

import (
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"crypto/sha1" // SignatureVersion 1, the default of SNS topics
	"crypto/sha256"
	"encoding/base64"

	"github.com/seed75441868/postern/handlers"
)

// content is what an envelope's signature covers.
type content struct {
	signed []byte
	sum256 [32]byte
}

func contentOf(e *envelope) content {
	signed := e.signed()
	return content{signed, sha256.Sum256(signed)}
}

// signature is an envelope's, read and not verified.
type signature struct {
	hash          crypto.Hash
	digest, value []byte
}

// readSignature reads the signature of e, whose content is c.
func readSignature(e *envelope, c content) (signature, error) {
	var s signature
	switch e.SignatureVersion {
	case "1":
		// Where only FIPS 140-3 algorithms may be used, SHA-1 panics.
		if fips140.Enforced() {
			return s, uncheckable("SignatureVersion 1 needs SHA-1, which FIPS 140-3 forbids; have the topic use version 2")
		}
		sum := sha1.Sum(c.signed)
		s.hash, s.digest = crypto.SHA1, sum[:]
	case "2":
		s.hash, s.digest = crypto.SHA256, c.sum256[:]
	default:
		return s, refused(handlers.ReasonSignature, "SignatureVersion is neither 1 nor 2")
	}
	var err error
	s.value, err = base64.StdEncoding.Strict().DecodeString(e.Signature)
	if err != nil || len(s.value) == 0 {
		return s, refused(handlers.ReasonSignature, "Signature is not base64")
	}
	return s, nil
}

// by reports whether key made the signature.
func (s signature) by(key *rsa.PublicKey) bool {
	return rsa.VerifyPKCS1v15(key, s.hash, s.digest, s.value) == nil
}
