package journal

import (
	"testing"
)

// The header is authenticated, so that from outside a day's key can't be told
// from a day's header.
func TestKeysOfOtherDaysAndPurposesDiffer(t *testing.T) {
	key := secretKey{1}
	sealed := key.derive("purpose", 20000).Seal(nil, nil, []byte("text"), nil)
	for name, c := range map[string]struct {
		key     secretKey
		context string
		day     uint32
		want    bool
	}{
		"the same":        {key, "purpose", 20000, true},
		"another day":     {key, "purpose", 20001, false},
		"another purpose": {key, "purposes", 20000, false},
		"another key":     {secretKey{2}, "purpose", 20000, false},
	} {
		_, err := c.key.derive(c.context, c.day).Open(nil, nil, sealed, nil)
		if opened := err == nil; opened != c.want {
			t.Errorf("%s: opened %t, want %t", name, opened, c.want)
		}
	}
}
