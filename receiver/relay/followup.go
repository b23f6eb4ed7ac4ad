package relay

import (
	"errors"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

var (
	errGivenUp    = errors.New("the platform did not tell in time what it means")
	errNoFollowUp = errors.New("it is not readable as an event that was followed up")
)

// followUp reports whether the item is a follow-up that was given up, and
// nothing that a platform told.
func (it *item) followUp() bool {
	d := &it.entry.Delivery
	return d.Role == handlers.RoleFollowUp && d.Channel == schemas.ChannelPoll && !d.Changes
}

// giveUp puts a follow-up into quarantine. One that an operator has released
// is asked for again.
func (r *Relay) giveUp(it *item, d handlers.Delivery) {
	if d.Release == nil {
		r.quarantine(it, schemas.ReasonFollowUpFailed, errGivenUp)
		return
	}
	var e handlers.ToldEvent
	if err := json.Unmarshal(d.Payload, &e); err != nil || e.ID == "" {
		r.quarantine(it, schemas.ReasonBadJSON, errNoFollowUp) // the library's errors quote values
		return
	}
	d.Received = d.Release.Time // from then on it is waited for anew
	t, err := r.newTelling(opsEvent(d, schemas.PlatformFollowUpRequested, d.ID+":"+d.Release.Action, schemas.FollowUpRequest{
		Platform: d.Platform, Event: e.ID, EventType: e.Type, EventKey: e.Key, EventTime: e.Time, EventData: e.Data,
	}))
	if err != nil {
		r.quarantineFor(it, err)
		return
	}
	it.tell = append(it.tell, t)
}
