package journal

import (
	"bytes"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// What can be decoded is encoded to the same delivery again, and nothing makes
// the decoder panic: it reads what an older or newer version has sealed.
func FuzzDecodeDelivery(f *testing.F) {
	d := handlers.Delivery{ID: "id", Source: "alpha", Role: "role", Received: time.Unix(1700000000, 5).UTC(), Stale: true, Payload: []byte("payload")}
	f.Add(appendDelivery(nil, &d))
	d.Release = &handlers.Release{Record: 7, Actor: "alice"}
	f.Add(appendDelivery(nil, &d))
	f.Add([]byte{deliveryFormat, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDelivery(b)
		if err != nil {
			return
		}
		first := appendDelivery(nil, &d)
		again, err := decodeDelivery(first)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, appendDelivery(nil, &again)) {
			t.Errorf("%+v comes back as %+v", d, again)
		}
	})
}
