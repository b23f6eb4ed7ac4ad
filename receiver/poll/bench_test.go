package poll_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
)

// candidate is an entity of the size that lists of investors have.
type candidate struct {
	ID        string         `json:"id"`
	Status    string         `json:"status"`
	KYC       string         `json:"kycStatus"`
	Wallet    string         `json:"walletAddress"`
	Country   string         `json:"country"`
	CreatedAt string         `json:"createdAt"`
	LastLogin string         `json:"lastLogin"`
	Qualified bool           `json:"qualified"`
	Roles     []string       `json:"roles"`
	Identity  map[string]any `json:"identity"`
	Notes     string         `json:"notes"`
}

// tracked is what of it matters.
type tracked struct {
	Status    string `json:"status"`
	KYC       string `json:"kyc"`
	Wallet    string `json:"wallet"`
	Qualified bool   `json:"qualified"`
}

func candidates(n int) []byte {
	list := make([]candidate, n)
	for i := range list {
		list[i] = candidate{
			ID: fmt.Sprintf("7c1e9a30-52d4-4b7f-9f10-%012d", i), Status: "PENDING", KYC: "VALIDATED",
			Wallet: fmt.Sprintf("0x%040x", i), Country: "LUX", CreatedAt: "2026-02-03T10:11:12.345Z",
			LastLogin: "2026-04-14T09:00:00.000Z", Roles: []string{"investor", "holder"},
			Identity: map[string]any{"type": "individual", "level": 2, "claims": []any{"a", "b"}},
			Notes:    "nothing of it is personal",
		}
	}
	b, err := json.Marshal(struct {
		Items []candidate `json:"items"`
	}{list})
	if err != nil {
		panic(err)
	}
	return b
}

func decode(body []byte) ([]candidate, error) {
	var list struct {
		Items []candidate `json:"items"`
	}
	err := json.Unmarshal(body, &list)
	return list.Items, err
}

// many returns pollers of a source that shows what body says, and how to scan
// it once.
func many(t testing.TB, body []byte) (*polltest.Bus, *polltest.Road, func()) {
	b := polltest.NewBus()
	road := polltest.NewRoad(b, map[string]polltest.Normalize{"test": func(handlers.Delivery) (handlers.Output, error) {
		return handlers.Output{}, nil
	}})
	ps := newPollers(t, b, road)
	ps.Update([]handlers.Source{{Name: "src", Platform: "test", Pollers: []handlers.Poller{{
		Name: "list", Role: "list", Interval: time.Minute,
		Scan: func(_ context.Context, s handlers.Scan) error {
			list, err := decode(body)
			if err != nil {
				return err
			}
			var state bytes.Buffer
			for _, c := range list {
				state.Reset()
				if err := json.MarshalWrite(&state, tracked{c.Status, c.KYC, c.Wallet, c.Qualified}); err != nil {
					return err
				}
				if err := s.Saw(handlers.Sighting{Key: c.ID, Container: "all", State: jsontext.Value(state.Bytes())}); err != nil {
					return err
				}
			}
			return s.Complete("all")
		},
	}}}})
	return b, road, func() {
		if err := ps.Once(t.Context(), "src/list"); err != nil {
			t.Fatal(err)
		}
		if err := road.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func newPollers(t testing.TB, b *polltest.Bus, road *polltest.Road) *poll.Pollers {
	t.Helper()
	return poll.New(poll.Config{
		Journal: road, Relay: road, Bus: b, Seal: polltest.Seal, Open: polltest.Open,
		Pseudonym: func(s string) string { return fmt.Sprintf("%.22x", s) }, Holder: "one",
	})
}

// BenchmarkScanWithoutChanges compares a scan of 100,000 entities that are as
// they were with only decoding what the platform answered, and reports the
// memory that stays for them.
func BenchmarkScanWithoutChanges(b *testing.B) {
	const entities = 100_000
	body := candidates(entities)
	bus, road, scan := many(b, body)
	scan()
	scan() // reads what the first one wrote
	loads, stores := bus.Counts()
	appended, _ := road.Counts()

	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if list, err := decode(body); err != nil || len(list) != entities {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			scan()
		}
	})
	if l, s := bus.Counts(); l != loads || s != stores {
		b.Errorf("%d entries were read and %d written", l-loads, s-stores)
	}
	if a, _ := road.Counts(); a != appended {
		b.Errorf("%d deliveries were appended", a-appended)
	}
}
