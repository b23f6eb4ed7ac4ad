package bus_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
)

// What is copied while the server rests opens elsewhere, and afterwards the
// same bus goes on.
func TestAStoreCanBeCopiedWhileItsServerRests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := bus.Config{Embedded: &bus.Embedded{Dir: filepath.Join(dir, "store"), StoreKey: "key"}, MaxStore: 1 << 30}
	b, err := bus.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	bustest.Prepare(t, b)
	publish(t, b, raw, events(raw, 1, 30)...)
	epoch := b.Epoch()
	failure := errors.New("no room")
	if err := b.Rest(func(string) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v, want the error of the function", err)
	}
	if err := b.Rest(func(store string) error {
		if _, err := b.Publish(t.Context(), raw, events(raw, 31, 31)); err == nil {
			t.Error("something was published while the server rests")
		}
		return os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(store))
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected again", func() bool { return b.Epoch() > epoch && b.Prepare(t.Context()) == nil })
	publish(t, b, raw, events(raw, 31, 40)...)
	if diff := cmp.Diff(ids(1, 40), stored(t, b, raw)); diff != "" {
		t.Errorf("afterwards it has (-want +got):\n%s", diff)
	}
	for _, c := range b.Check(t.Context()) {
		if !c.OK {
			t.Errorf("%s is not well: %s", c.Name, c.Detail)
		}
	}

	cfg.Embedded = &bus.Embedded{Dir: filepath.Join(dir, "copy"), StoreKey: "key"}
	copied, err := bus.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	bustest.Prepare(t, copied)
	if diff := cmp.Diff(ids(1, 30), stored(t, copied, raw)); diff != "" {
		t.Errorf("the copy has (-want +got):\n%s", diff)
	}
}

func TestAnExternalServerDoesNotRest(t *testing.T) {
	t.Parallel()
	b := bustest.NewExternal(t).Bus()
	err := b.Rest(func(string) error {
		t.Error("the function was called")
		return nil
	})
	if !errors.Is(err, bus.ErrExternal) {
		t.Errorf("got %v, want ErrExternal", err)
	}
}
