package handlers_test

import (
	"encoding/base64"
	"testing"

	"github.com/seed75441868/postern/handlers"
)

func TestClaimsAreThoseOfAJWT(t *testing.T) {
	const said = `{"exp":1776158400}` // of a length that is padded
	for token, want := range map[string]bool{
		"e30." + base64.RawURLEncoding.EncodeToString([]byte(said)) + ".c2ln": true,
		"e30." + base64.URLEncoding.EncodeToString([]byte(said+" ")) + ".":    true,
		"e30." + base64.RawURLEncoding.EncodeToString([]byte(said)):           false,
		"e30." + base64.RawURLEncoding.EncodeToString([]byte(`exp`)) + ".":    false,
		"a.%%%.c": false,
		"opaque":  false,
		"":        false,
	} {
		var claims struct {
			Exp int64 `json:"exp"`
		}
		if got := handlers.Claims(token, &claims); got != want || got && claims.Exp != 1776158400 {
			t.Errorf("%q: %t, %+v", token, got, claims)
		}
	}
}
