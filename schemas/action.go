package schemas

import "time"

// OperatorAction returns the event that tells what an operator did. The id is
// a part of the event's: the same id is the same action.
func OperatorAction(t Type, id string, at time.Time, data Action) Event {
	key := ReservedSource
	if data.Target != nil {
		key = *data.Target
	}
	return Event{
		ID:       ReservedSource + ":" + t.Entity() + ":" + t.Event() + ":" + id,
		Source:   ReservedSource,
		Type:     t,
		Key:      key,
		Time:     FormatTime(at),
		Recorded: at,
		Data:     data,
	}
}
