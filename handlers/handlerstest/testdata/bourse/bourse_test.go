package bourse_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/bourse"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// TestPromises: the bourse keeps the promises of all polled platforms.
func TestPromises(t *testing.T) {
	handlerstest.Poller(t, handlerstest.PollerCase{
		Platform:   bourse.Platform(),
		Stage:      stage,
		Vocabulary: []schemas.Type{schemas.OfferingOpened, schemas.OfferingClosed, schemas.OfferingStatusChanged},
	})
}

func stage(testing.TB) handlerstest.Stage {
	var mu sync.Mutex
	offerings := []map[string]string{{"id": "OF-1", "status": "open"}, {"id": "OF-2", "status": "closed"}}
	status := func(status string) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			offerings[0]["status"] = status
		}
	}
	tells := func(types ...schemas.Type) []schemas.Type { return types }
	return handlerstest.Stage{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path != "/offerings" || r.Header.Get("Authorization") != "Bearer bourse-token-51" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_ = json.MarshalWrite(w, map[string]any{"offerings": offerings})
		}),
		Settings: &bourse.Settings{URL: "https://bourse.example", Token: handlers.NewSecret("bourse-token-51"), Poll: bourse.Poll{Interval: 1}},
		First:    tells(schemas.OfferingOpened, schemas.OfferingClosed),
		Happenings: []handlerstest.Happening{
			{Name: "closed", Do: status("closed"), Tells: tells(schemas.OfferingClosed)},
			{Name: "unknown", Do: status("resting"), Tells: tells(schemas.OfferingStatusChanged)},
		},
		There: handlerstest.Happening{Do: status("closed"), Tells: tells(schemas.OfferingClosed)},
		Back:  handlerstest.Happening{Do: status("open"), Tells: tells(schemas.OfferingOpened)},
	}
}
