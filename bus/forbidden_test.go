package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// forbidden is what no reader may do, whether it asks for an answer or not.
var forbidden = []struct{ subject, payload, reply string }{
	{subject: "postern.events.acme.process.succeeded.forged"},
	{subject: "postern.restricted.acme.process.succeeded.forged"},
	{subject: "postern.raw.acme"},
	{subject: "postern.quarantine.acme.stale"},
	{subject: "postern.rejected.acme"},
	{subject: "postern.ops.acme.conflict"},
	{subject: "postern.replay.r1.acme"},
	{subject: "$KV.postern_state.acme"},
	{subject: "$KV.postern_leases.acme"},
	{subject: "$KV.postern_cursors.acme"},

	{subject: "$JS.API.STREAM.DELETE.POSTERN_EVENTS"},
	{subject: "$JS.API.STREAM.DELETE.KV_postern_state"},
	{subject: "$JS.API.STREAM.PURGE.KV_postern_state"},
	{subject: "$JS.API.STREAM.PURGE.KV_postern_leases", payload: `{"filter":"$KV.postern_leases.acme"}`},
	{subject: "$JS.API.STREAM.UPDATE.KV_postern_leases", payload: `{"name":"KV_postern_leases","subjects":["$KV.postern_leases.>"],"storage":"file","max_msgs_per_subject":5}`},
	{subject: "$JS.API.STREAM.MSG.DELETE.KV_postern_state", payload: `{"seq":1}`},
	{subject: "$JS.API.STREAM.SNAPSHOT.KV_postern_state", payload: `{"deliver_subject":"_INBOX.snapshot"}`},
	{subject: "$JS.API.STREAM.CREATE.KV_mine", payload: `{"name":"KV_mine","subjects":["$KV.mine.>"],"storage":"file"}`},
	{subject: "$JS.API.STREAM.CREATE.KV_copy", payload: `{"name":"KV_copy","mirror":{"name":"KV_postern_state"},"storage":"file"}`},
	{subject: "$JS.API.STREAM.PURGE.POSTERN_EVENTS"},
	{subject: "$JS.API.STREAM.PURGE.POSTERN_RAW"},
	{subject: "$JS.API.STREAM.UPDATE.POSTERN_EVENTS", payload: `{"name":"POSTERN_EVENTS","subjects":["x"],"storage":"file"}`},
	{subject: "$JS.API.STREAM.CREATE.MINE", payload: `{"name":"MINE","subjects":["mine.>"],"storage":"file"}`},
	{subject: "$JS.API.STREAM.CREATE.COPY", payload: `{"name":"COPY","sources":[{"name":"POSTERN_RAW"}],"storage":"file"}`},
	{subject: "$JS.API.STREAM.MSG.DELETE.POSTERN_EVENTS", payload: `{"seq":1}`},
	{subject: "$JS.API.STREAM.SNAPSHOT.POSTERN_EVENTS", payload: `{"deliver_subject":"_INBOX.snapshot"}`},
	{subject: "$JS.API.STREAM.RESTORE.POSTERN_EVENTS", payload: `{"config":{"name":"POSTERN_EVENTS"}}`},
	{subject: "$JS.API.STREAM.LIST"},
	{subject: "$JS.API.STREAM.INFO.POSTERN_RAW"},
	{subject: "$JS.API.STREAM.INFO.KV_postern_state"},
	{subject: "$JS.API.STREAM.INFO.*"},
	{subject: "$JS.API.STREAM.MSG.GET.POSTERN_RAW", payload: `{"seq":1}`},
	{subject: "$JS.API.STREAM.MSG.GET.POSTERN_RESTRICTED", payload: `{"seq":1}`},
	{subject: "$JS.API.DIRECT.GET.POSTERN_RAW", payload: `{"seq":1}`},
	{subject: "$JS.API.DIRECT.GET.POSTERN_RAW.postern.raw.acme"},
	{subject: "$JS.API.DIRECT.GET.POSTERN_RESTRICTED", payload: `{"seq":1}`},
	{subject: "$JS.API.STREAM.INFO.KV_postern_leases", payload: `{"subjects_filter":">"}`},
	{subject: "$JS.API.STREAM.INFO.KV_postern_cursors"},
	{subject: "$JS.API.STREAM.MSG.GET.KV_postern_state", payload: `{"last_by_subj":"$KV.postern_state.acme"}`},
	{subject: "$JS.API.STREAM.MSG.GET.KV_postern_leases", payload: `{"seq":1}`},
	{subject: "$JS.API.STREAM.MSG.GET.POSTERN_EVENTS", payload: `{"last_by_subj":"$KV.postern_state.acme"}`},
	{subject: "$JS.API.DIRECT.GET.KV_postern_state.$KV.postern_state.acme"},
	{subject: "$JS.API.DIRECT.GET.KV_postern_state", payload: `{"multi_last":["$KV.postern_state.>"]}`},
	{subject: "$JS.API.DIRECT.GET.KV_postern_leases", payload: `{"seq":1}`},
	{subject: "$JS.API.DIRECT.GET.POSTERN_EVENTS.$KV.postern_state.acme"},
	{subject: "$JS.API.ACCOUNT.PURGE.POSTERN"},
	{subject: "$JS.API.META.LEADER.STEPDOWN"},
	{subject: "$JS.API.SERVER.REMOVE", payload: `{"peer":"postern"}`},

	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_RAW.spy", payload: consumerRequest("POSTERN_RAW", `"name":"spy","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_QUARANTINE.spy", payload: consumerRequest("POSTERN_QUARANTINE", `"name":"spy","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.spy", payload: consumerRequest("POSTERN_RAW", `"name":"spy","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.DURABLE.CREATE.POSTERN_RESTRICTED.spy", payload: consumerRequest("POSTERN_RESTRICTED", `"durable_name":"spy","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.KV_postern_state.spy", payload: consumerRequest("KV_postern_state", `"name":"spy","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.KV_postern_leases.spy.$KV.postern_leases.>", payload: consumerRequest("KV_postern_leases", `"name":"spy","filter_subject":"$KV.postern_leases.>","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.DURABLE.CREATE.KV_postern_cursors.spy", payload: consumerRequest("KV_postern_cursors", `"durable_name":"spy","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.spy2", payload: consumerRequest("KV_postern_state", `"name":"spy2","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.LIST.KV_postern_state"},
	{subject: "$JS.API.CONSUMER.LIST.POSTERN_EVENTS"},
	{subject: "$JS.API.CONSUMER.NAMES.POSTERN_EVENTS"},
	{subject: "$JS.API.CONSUMER.PAUSE.POSTERN_EVENTS.follow-up", payload: `{"pause_until":"2030-01-01T00:00:00Z"}`},
	{subject: "$JS.API.CONSUMER.RESET.POSTERN_EVENTS.follow-up"},
	{subject: "$JS.API.CONSUMER.INFO.POSTERN_EVENTS.follow-up"},
	{subject: "$JS.API.CONSUMER.DELETE.POSTERN_EVENTS.follow-up"},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.POSTERN_EVENTS.follow-up", payload: `{"batch":10,"no_wait":true}`},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.POSTERN_EVENTS.*", payload: `{"batch":10,"no_wait":true}`},
	{subject: "$JS.ACK.POSTERN_EVENTS.follow-up.1.1.1.1700000000000000000.0", payload: "+ACK"},
	{subject: "$JS.ACK.POSTERN_EVENTS.follow-up.1.1.1.1700000000000000000.0", payload: "+TERM"},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.follow-up", payload: consumerRequest("POSTERN_EVENTS", `"durable_name":"follow-up","filter_subject":"postern.events.x","ack_policy":"explicit"`)},

	// What would have the server put messages where readers may not.
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.push1", payload: consumerRequest("POSTERN_EVENTS", `"name":"push1","deliver_subject":"postern.raw.acme","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.push2", payload: consumerRequest("POSTERN_EVENTS", `"name":"push2","deliver_subject":"$KV.postern_state.acme","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.push3", payload: consumerRequest("POSTERN_EVENTS", `"name":"push3","deliver_subject":"$JS.API.STREAM.PURGE.POSTERN_RAW","headers_only":true,"ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.push4", payload: consumerRequest("POSTERN_EVENTS", `"name":"push4","Deliver_Subject":"postern.raw.acme","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.push5", payload: consumerRequest("POSTERN_EVENTS", `"name":"push5","deliver_subject":"_INBOX.x","deliver_subject":"postern.raw.acme","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.CREATE.POSTERN_EVENTS.push6", payload: consumerRequest("POSTERN_EVENTS", `"name":"push6","deliver_subject":"_INBOX.*","ack_policy":"none"`)},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.POSTERN_EVENTS.own", payload: `{"batch":3,"no_wait":true}`, reply: "postern.raw.acme"},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.POSTERN_EVENTS.own", payload: `{"batch":3,"no_wait":true}`, reply: "$JS.API.STREAM.PURGE.POSTERN_RAW"},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.POSTERN_EVENTS.own", payload: `{"batch":3,"no_wait":true}`, reply: "$KV.postern_leases.acme"},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.POSTERN_EVENTS.own", payload: `{"batch":3,"no_wait":true}`, reply: "_gate.READER_1.out._INBOX.x"},
	{subject: "$JS.API.DIRECT.GET.POSTERN_EVENTS", payload: `{"seq":1}`, reply: "postern.raw.acme"},
	{subject: "$JS.API.STREAM.INFO.POSTERN_EVENTS", reply: "$KV.postern_state.acme"},
	{subject: "$JS.API.STREAM.NAMES", reply: "postern.raw.acme"},
	{subject: "$JS.ACK.POSTERN_EVENTS.own.1.1.1.1700000000000000000.0", payload: `+NXT {"batch":1,"no_wait":true}`, reply: "postern.raw.acme"},

	// Other people and the server itself.
	{subject: "_INBOX.somebody"},
	{subject: "_gate.GUEST.out._INBOX.somebody"},
	{subject: "_gate.GUEST.in.$JS.API.STREAM.PURGE.POSTERN_RAW"},
	{subject: "_gate.READER_1.in.$JS.API.STREAM.MSG.GET.POSTERN_RAW", payload: `{"seq":1}`},
	{subject: "$SYS.REQ.SERVER.PING"},
	{subject: "$SYS.REQ.ACCOUNT.POSTERN.CONNZ"},
	{subject: "$SYS.REQ.USER.INFO"},
	{subject: "$SRV.PING"},
}

func consumerRequest(stream, config string) string {
	return fmt.Sprintf(`{"stream_name":%q,"config":{%s}}`, stream, config)
}

// TestReadersCanOnlyRead tries everything in forbidden, as the guest and as a
// user that may read events, and finds that nothing changed and nothing was
// told.
func TestReadersCanOnlyRead(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.Embedded.Users = []bus.User{{Name: "ann", Password: "a long password", Allow: bus.AllowEvents}}
	})
	admin := newJS(t, bus.Conn(b))
	for _, s := range schemas.Streams() {
		publish(t, b, s, event(s, "e1"), event(s, "e2"))
	}
	for _, bucket := range []string{schemas.BucketState, schemas.BucketCursors, schemas.BucketLeases} {
		store(t, b, bucket, schemas.Put{Key: "acme", Value: []byte("secret")})
	}
	// Somebody else's consumer, with a message that waits to be acknowledged.
	followUp, err := admin.CreateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{Durable: "follow-up", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := followUp.Next(); err != nil {
		t.Fatal(err)
	}

	for name, options := range map[string][]nats.Option{
		"guest": nil,
		"user":  {nats.UserInfo("ann", "a long password")},
	} {
		t.Run(name, func(t *testing.T) {
			nc := bustest.Connect(t, b, options...)
			if _, err := newJS(t, nc).CreateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{
				Name: "own", AckPolicy: jetstream.AckExplicitPolicy, InactiveThreshold: time.Minute,
			}); err != nil {
				t.Fatal(err)
			}
			before := inventory(t, admin)
			inbox := nats.NewInbox()
			answers, err := nc.SubscribeSync(inbox + ".*")
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range forbidden {
				reply := f.reply
				if reply == "" {
					reply = fmt.Sprintf("%s.%d", inbox, i)
				}
				for _, trace := range []string{"", "postern.raw.acme"} {
					m := &nats.Msg{Subject: f.subject, Reply: reply, Data: []byte(f.payload)}
					if trace != "" {
						m.Header = nats.Header{"Nats-Trace-Dest": {trace}}
					}
					if err := nc.PublishMsg(m); err != nil {
						t.Fatal(err)
					}
				}
			}
			// The gate takes requests in order: this is answered last.
			if _, err := newJS(t, nc).Stream(t.Context(), "POSTERN_EVENTS"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, inventory(t, admin)); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
			for {
				m, err := answers.NextMsg(50 * time.Millisecond)
				if err != nil {
					break
				}
				if !strings.Contains(string(m.Data), `"error"`) && m.Header.Get("Status") == "" {
					t.Errorf("an answer to %s: %s", m.Subject[len(inbox)+1:], m.Data)
				}
			}
			if err := newJS(t, nc).DeleteConsumer(t.Context(), "POSTERN_EVENTS", "own"); err != nil {
				t.Error(err)
			}
		})
	}
}

// patience is long for what should come, and short for what should not.
func patience(may []schemas.Stream, s schemas.Stream) time.Duration {
	if slices.Contains(may, s) {
		return 5 * time.Second
	}
	return 100 * time.Millisecond
}

// inventory says what there is in the account of the streams.
func inventory(t *testing.T, js jetstream.JetStream) map[string]string {
	t.Helper()
	all := map[string]string{}
	streams := js.ListStreams(t.Context())
	for s := range streams.Info() {
		all[s.Config.Name] = fmt.Sprintf("%+v %+v", s.Config, s.State)
		stream, err := js.Stream(t.Context(), s.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := stream.ListConsumers(t.Context())
		for c := range consumers.Info() {
			all[s.Config.Name+"."+c.Name] = fmt.Sprintf("%+v %+v %+v %d %d", c.Config.FilterSubject, c.Delivered.Stream, c.AckFloor.Stream, c.NumAckPending, c.NumPending)
		}
		if err := consumers.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestReadersHearOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.Embedded.Users = []bus.User{
			{Name: "ann", Password: "password of ann", Allow: bus.AllowEvents},
			{Name: "bob", Password: "password of bob", Allow: bus.AllowRestricted},
			{Name: "eve", Password: "password of eve", Allow: bus.AllowAll},
		}
	})
	for _, s := range schemas.Streams() {
		publish(t, b, s, event(s, "e1"))
	}
	ann := nats.UserInfo("ann", "password of ann")
	bob := nats.UserInfo("bob", "password of bob")
	eve := nats.UserInfo("eve", "password of eve")
	events := []schemas.Stream{schemas.StreamEvents}
	restricted := []schemas.Stream{schemas.StreamEvents, schemas.StreamRestricted}
	for name, c := range map[string]struct {
		options []nats.Option
		may     []schemas.Stream
	}{
		"guest":              {nil, events},
		"user of events":     {[]nats.Option{ann}, events},
		"user of restricted": {[]nats.Option{bob}, restricted},
		"user of everything": {[]nats.Option{eve}, schemas.Streams()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := bustest.Connect(t, b, c.options...)
			js := newJS(t, nc)
			var read, heard []schemas.Stream
			for _, s := range schemas.Streams() {
				ctx, cancel := context.WithTimeout(t.Context(), patience(c.may, s))
				consumer, err := js.OrderedConsumer(ctx, string(s), jetstream.OrderedConsumerConfig{})
				cancel()
				if err != nil {
					continue
				}
				if _, err := consumer.Next(jetstream.FetchMaxWait(time.Second)); err == nil {
					read = append(read, s)
				}
			}
			if diff := cmp.Diff(c.may, read); diff != "" {
				t.Errorf("streams read:\n%s", diff)
			}
			subs := map[schemas.Stream]*nats.Subscription{}
			for _, s := range schemas.Streams() {
				sub, err := nc.SubscribeSync(s.Prefix() + ".>")
				if err != nil {
					t.Fatal(err)
				}
				subs[s] = sub
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			for _, s := range schemas.Streams() {
				publish(t, b, s, event(s, "live-"+strings.ReplaceAll(name, " ", "-")))
				if _, err := subs[s].NextMsg(patience(c.may, s)); err == nil {
					heard = append(heard, s)
				}
			}
			if diff := cmp.Diff(c.may, heard); diff != "" {
				t.Errorf("streams heard:\n%s", diff)
			}
		})
	}

	// What the server sends to one must not reach another's ears, although
	// all inboxes have the same beginning.
	t.Run("nobody hears another's inbox", func(t *testing.T) {
		listeners := map[string]*nats.Subscription{}
		for name, options := range map[string][]nats.Option{"guest": nil, "ann": {ann}, "eve": {eve}} {
			nc := bustest.Connect(t, b, options...)
			for _, subject := range []string{"_INBOX.>", "_R_.>", ">", "_gate.>", "$JS.>", "$SYS.>", "$KV.>"} {
				sub, err := nc.SubscribeSync(subject)
				if err != nil {
					t.Fatal(err)
				}
				listeners[name+" "+subject] = sub
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		js := newJS(t, bustest.Connect(t, b, bob))
		c, err := js.OrderedConsumer(t.Context(), "POSTERN_RESTRICTED", jetstream.OrderedConsumerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(jetstream.FetchMaxWait(time.Second)); err != nil {
			t.Fatal(err)
		}
		for name, sub := range listeners {
			if m, err := sub.NextMsg(20 * time.Millisecond); err == nil {
				t.Errorf("%s heard %s", name, m.Subject)
			}
		}
	})
}
