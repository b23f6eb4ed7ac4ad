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
	case FollowUpRequest:
		const process = "1f0c8a52-5c6f-4a75-9d0e-6d1c5b7b3a20"
		e.Source, e.Key, e.DeliveryID, e.Channel = "corastone", "corastone", "5d1c0f6a9be24f1c8a7d", ChannelPoll
		e.ID = "corastone:platform:follow_up_requested:" + e.DeliveryID + ":01JQ2V"
		e.Data = FollowUpRequest{
			Platform: "corastone", Event: "corastone:process:" + process + ":success",
			EventType: ProcessSucceeded, EventKey: process, EventTime: since,
			EventData: []byte(`{"processId":"` + process + `","nativeStatus":"success"}`),
		}
	case Repair:
		e.Source, e.Key = "corastone", "reconcile"
		e.ID = "corastone:platform:repaired:reconcile:20260414t101830.400z"
		e.Data = Repair{
			Platform: "corastone", From: "2026-04-11T10:18:30.400Z", To: since, Facts: 5210, Missing: 2,
		}
	}
	return e
}
