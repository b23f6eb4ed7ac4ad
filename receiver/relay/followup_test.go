package relay_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// giveUp appends a follow-up that was given up.
func (w *world) giveUp(payload string) {
	w.t.Helper()
	d := handlers.Delivery{
		Source: "feed", Platform: "test", Channel: schemas.ChannelPoll, Role: handlers.RoleFollowUp,
		Received: time.Now().Add(-time.Hour), Payload: []byte(payload),
	}
	if _, err := w.journal.Append(w.t.Context(), d, "follow-up:"+payload, sha256.Sum256(d.Payload)); err != nil {
		w.t.Fatal(err)
	}
}

func TestAFollowUpThatWasGivenUpIsAskedForAgainWhenItIsReleased(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	settled := w.releasing()
	w.run(b)
	told := handlers.ToldEvent{
		ID: "feed:process:p1:success", Type: schemas.ProcessSucceeded, Key: "p1", Time: "2026-03-01T10:00:00Z",
		Data: jsontext.Value(`{"processId":"p1"}`),
	}
	payload, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	w.giveUp(string(payload))
	w.giveUp(`"nothing that was followed up"`)
	w.drain()
	if diff := cmp.Diff([]string{"follow_up_failed", "follow_up_failed"}, quarantined(t, b)); diff != "" {
		t.Fatal(diff)
	}
	if raw := messages(t, b, schemas.StreamRaw); len(raw) != 0 {
		t.Errorf("raw has %d deliveries that no platform told", len(raw))
	}
	before := time.Now()
	w.release(b, 1, "A1")
	if got := settledNext(t, settled).Outcome; got != relay.ReleaseTold {
		t.Errorf("the release is %s", got)
	}
	w.release(b, 2, "A2")
	if got := settledNext(t, settled); got.Outcome != relay.ReleaseKept || got.Reason != schemas.ReasonBadJSON {
		t.Errorf("the release of what is unreadable is %+v", got)
	}
	if diff := cmp.Diff([]string{"bad_json"}, quarantined(t, b)); diff != "" {
		t.Error(diff)
	}
	var asked []schemas.FollowUpRequest
	for _, m := range messages(t, b, schemas.StreamOps) {
		if m.Subject != "postern.ops.feed.follow_up_requested" {
			continue
		}
		var body struct {
			Recorded time.Time               `json:"recordedtime"`
			Data     schemas.FollowUpRequest `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &body); err != nil {
			t.Fatal(err)
		}
		if body.Recorded.Before(before.Add(-time.Second)) {
			t.Errorf("it is not waited for anew, but since %s", body.Recorded)
		}
		asked = append(asked, body.Data)
	}
	want := []schemas.FollowUpRequest{{
		Platform: "test", Event: told.ID, EventType: told.Type, EventKey: told.Key, EventTime: told.Time, EventData: told.Data,
	}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if events := ids(t, b, schemas.StreamEvents); len(events) != 0 {
		t.Errorf("events were told: %q", events)
	}
}
