package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-1e10, 1e11).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
	})
}

func anyDelivery() *rapid.Generator[handlers.Delivery] {
	return rapid.Custom(func(t *rapid.T) handlers.Delivery {
		d := handlers.Delivery{
			ID: rapid.String().Draw(t, "ID"), Source: rapid.String().Draw(t, "Source"), Platform: rapid.String().Draw(t, "Platform"),
			Channel: schemas.Channel(rapid.String().Draw(t, "Channel")), Role: rapid.String().Draw(t, "Role"),
			Owner: rapid.String().Draw(t, "Owner"), View: rapid.String().Draw(t, "View"),
			Received: anyTime().Draw(t, "Received"), Sent: anyTime().Draw(t, "Sent"),
			Stale: rapid.Bool().Draw(t, "Stale"), Conflict: rapid.Bool().Draw(t, "Conflict"),
			Changes: rapid.Bool().Draw(t, "Changes"),
		}
		if p := rapid.SliceOf(rapid.Byte()).Draw(t, "Payload"); len(p) > 0 {
			d.Payload = p
		}
		if rapid.Bool().Draw(t, "released") {
			d.Release = &handlers.Release{
				Record: rapid.Uint64().Draw(t, "Record"), Reason: schemas.Reason(rapid.String().Draw(t, "Reason")),
				Actor: rapid.String().Draw(t, "Actor"), Time: anyTime().Draw(t, "Time"), Action: rapid.String().Draw(t, "Action"),
			}
		}
		return d
	})
}

func TestADeliveryComesBackAsItWasSealed(t *testing.T) {
	k := keyring(t)
	rapid.Check(t, func(t *rapid.T) {
		d := anyDelivery().Draw(t, "delivery")
		got, err := k.OpenDelivery(k.SealDelivery(d))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEveryFlippedBitOfASealedRecordIsNoticed(t *testing.T) {
	k := keyring(t)
	d, _ := push("payload")
	sealed := k.SealDelivery(d)
	for i := range sealed {
		for bit := range 8 {
			flipped := bytes.Clone(sealed)
			flipped[i] ^= 1 << bit
			if _, err := k.OpenDelivery(flipped); !errors.Is(err, journal.ErrDamaged) && !errors.Is(err, journal.ErrUnknownKey) {
				t.Errorf("byte %d, bit %d: %v", i, bit, err)
			}
		}
		if _, err := k.OpenDelivery(sealed[:i]); !errors.Is(err, journal.ErrDamaged) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

func TestWhatWasSealedForOnePurposeOpensForNoOther(t *testing.T) {
	k := keyring(t)
	if _, err := k.Open("b", k.Seal("a", []byte("text"))); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	if _, err := k.OpenDelivery(k.Seal("a", []byte("text"))); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

func TestSealingTwiceNeverLooksTheSame(t *testing.T) {
	k := keyring(t)
	seen := make(map[string]bool)
	for range 10_000 {
		s := string(k.Seal("test", []byte("same")))
		if seen[s[13:25]] { // the nonce
			t.Fatal("a nonce came twice")
		}
		seen[s[13:25]] = true
	}
}

func TestEveryDayHasItsOwnKey(t *testing.T) {
	k := keyring(t)
	d, _ := push("payload")
	sealed := k.SealDelivery(d)
	d.Received = d.Received.Add(24 * time.Hour)
	next := k.SealDelivery(d)
	if bytes.Equal(sealed[:13], next[:13]) {
		t.Error("two days share a header")
	}
	copy(next, sealed[:13]) // the day before
	if _, err := k.OpenDelivery(next); !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("with the key of the day before: %v", err)
	}
	for day := range 400 { // more than are kept
		d.Received = arrived.Add(time.Duration(day) * 24 * time.Hour)
		if _, err := k.OpenDelivery(k.SealDelivery(d)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrintingAKeyringShowsNoKey(t *testing.T) {
	k := keyring(t)
	key := k.PseudonymKey()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		out := fmt.Sprintf(format, k)
		if !strings.Contains(out, k.Fingerprint()) && format != "%x" || len(out) > 80 {
			t.Errorf("%s: %s", format, out)
		}
		if strings.Contains(out, string(key[:4])) {
			t.Errorf("%s shows the key", format)
		}
	}
}

// Nothing of a delivery is on disk in the clear, but a hash of what names it.
func TestNothingOfADeliveryIsOnDiskInTheClear(t *testing.T) {
	c := config(t, t.TempDir())
	j := openJournal(t, c)
	d := handlers.Delivery{
		Source: "canary-source", Platform: "canary-platform", Channel: schemas.ChannelPush, Role: "canary-role",
		Owner: "canary-owner", View: "canary-view", Received: arrived, Payload: []byte("canary-payload"),
	}
	for i := range 20 {
		_, content := push(fmt.Sprint(i))
		mustAppend(t, j, d, fmt.Sprint("canary-transport-", i), content)
		if i == 9 {
			must(t, j.Flush())
		}
	}
	must(t, j.Index().Apply(schemas.StreamEvents, []journal.Told{{ID: "canary-event", Seq: 1}}, 1))
	must(t, j.Trim(1, 2, 3))
	closeJournal(t, j)
	for path, content := range contents(t, c.Dir) {
		if strings.Contains(content, "canary") {
			t.Errorf("%s holds a canary", path)
		}
	}
}
