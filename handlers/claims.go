package handlers

import (
	"encoding/base64"
	"strings"

	"github.com/go-json-experiment/json"
)

// Claims decodes what a token says into v, a pointer, if it is a JWT (RFC 7519)
// that is signed, and reports whether that went well. Who says it is not
// checked: a token is for whom it is shown to, and what it says only a hint for
// who shows it.
func Claims(token string, v any) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "=")) // some pad
	return err == nil && json.Unmarshal(claims, v) == nil
}
