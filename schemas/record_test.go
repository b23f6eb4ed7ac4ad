package schemas_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/schemas"
)

func record() schemas.Record {
	return schemas.Record{
		Source:     "north",
		DeliveryID: "d-0042",
		Channel:    schemas.ChannelPoll,
		Received:   time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC),
		Sealed:     []byte{1, 2, 3},
	}
}

func TestRecordsSayInTheClearOnlyWhatTriageNeeds(t *testing.T) {
	want := schemas.Message{
		Stream:  schemas.StreamRaw,
		Subject: "postern.raw.north",
		ID:      "d-0042",
		Header: map[string][]string{
			"Nats-Msg-Id":      {"d-0042"},
			"postern-delivery": {"d-0042"},
			"postern-channel":  {"poll"},
			"postern-received": {"2026-05-06T07:08:09.000Z"},
		},
		Body: []byte{1, 2, 3},
	}
	if diff := cmp.Diff(want, record().Raw()); diff != "" {
		t.Errorf("raw (-want +got):\n%s", diff)
	}
	want.Stream = schemas.StreamQuarantine
	want.Subject = "postern.quarantine.north.bad_json"
	want.ID = "d-0042:bad_json"
	want.Header["Nats-Msg-Id"] = []string{"d-0042:bad_json"}
	want.Header["postern-reason"] = []string{"bad_json"}
	if diff := cmp.Diff(want, record().Quarantine(schemas.ReasonBadJSON)); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
}

// A server that still remembers the first record would drop the second, and
// nothing would be left when the first is deleted.
func TestRecordsOfAReleaseHaveIdsOfTheirOwn(t *testing.T) {
	r := record()
	r.Release = "ABC"
	if raw, put := r.Raw(), r.Quarantine(schemas.ReasonStale); raw.ID != "d-0042:ABC" || put.ID != "d-0042:stale:ABC" ||
		raw.Header["Nats-Msg-Id"][0] != raw.ID || put.Header["postern-delivery"][0] != "d-0042" {
		t.Errorf("%+v, %+v", raw, put)
	}
}

func TestReasonsAreSubjectTokensAndApart(t *testing.T) {
	seen := map[schemas.Reason]bool{}
	for _, r := range schemas.Reasons() {
		if seen[r] || !regexp.MustCompile(`^[a-z_]+$`).MatchString(string(r)) {
			t.Errorf("%q is no token or twice in the list", r)
		}
		seen[r] = true
	}
	if len(seen) == 0 {
		t.Error("no reasons")
	}
}

func TestRejectedSaysInTheClearWhatWasWrongOnly(t *testing.T) {
	r := schemas.Rejected{
		Source: "north", ID: "XYZ", Reason: "signature", Detail: " not\r\n gr\u00fcn" + strings.Repeat("!", 300),
		Received: record().Received, Sealed: []byte{1, 2, 3},
	}
	want := schemas.Message{
		Stream:  schemas.StreamRejected,
		Subject: "postern.rejected.north",
		ID:      "north:XYZ",
		Header: map[string][]string{
			"Nats-Msg-Id":      {"north:XYZ"},
			"postern-reason":   {"signature"},
			"postern-detail":   {"not?? gr?n" + strings.Repeat("!", 189)},
			"postern-received": {"2026-05-06T07:08:09.000Z"},
		},
		Body: []byte{1, 2, 3},
	}
	if diff := cmp.Diff(want, r.Message()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
