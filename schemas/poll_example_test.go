package schemas

// pollExample completes the example of a type that tells how polling goes.
func pollExample(d Definition, e Event) Event {
	const since = "2026-04-14T10:18:30.400Z"
	e.Source, e.DeliveryID, e.Channel = "concedus", "", ""
	e.Key = "agent-list"
	e.ID = "concedus:platform:" + d.Type.Event() + ":agent-list:20260414t101830.400z"
	endpoint, code := "agent-list", int64(503)
	switch d.Data.(type) {
	case PollFailure:
		e.Data = PollFailure{
			Platform: "concedus", Poller: e.Key, Since: since, Failures: 3,
			Reason: "answer", Endpoint: &endpoint, Code: &code,
		}
	case PollRecovery:
		e.Data = PollRecovery{Platform: "concedus", Poller: e.Key, Since: since, Seconds: 120}
	case AuthFailure:
		e.Data = AuthFailure{
			Platform: "concedus", Poller: e.Key, Endpoint: "token", Code: 401, Retry: "2026-04-14T10:21:30.400Z",
		}
	case ScanSuspicion:
		e.ID += ":agent"
		e.Data = ScanSuspicion{Platform: "concedus", Poller: e.Key, Container: "agent", Before: 120, Seen: 61}
	}
	return e
}
