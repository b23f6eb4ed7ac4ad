package bus

import (
	"context"
	"encoding/json" // the server's own types know no other
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed75441868/postern/schemas"
)

// gate judges the JetStream requests of readers. A request that is none of the
// few that read is dropped. Of consumers a reader sees only its own, so that it
// can neither take nor acknowledge what another one is owed, and what a
// consumer delivers can only reach the reader's own inboxes.
type gate struct {
	b   *Bus
	log *slog.Logger

	mu     sync.Mutex
	epoch  uint64            // of the connection at which owners was read
	owners map[string]string // stream.consumer → account
	ours   map[string]bool   // consumers that we need, whether they exist or not
}

// openGate begins to let readers in. It ends with the connection.
func openGate(b *Bus, readers []reader) (*gate, error) {
	g := &gate{b: b, log: b.log}
	for _, r := range readers {
		for _, subject := range requests {
			handle := g.api
			if !strings.HasPrefix(subject, "$JS.API.") {
				handle = g.acknowledge
			}
			prefix := r.in() + "."
			if _, err := b.nc.Subscribe(prefix+subject, func(m *nats.Msg) {
				handle(r, strings.TrimPrefix(m.Subject, prefix), m)
			}); err != nil {
				return nil, fmt.Errorf("gate: %w", err)
			}
		}
	}
	const advisory = "$JS.EVENT.ADVISORY.CONSUMER.DELETED."
	_, err := b.nc.Subscribe(advisory+"*.*", func(m *nats.Msg) {
		g.forget(strings.TrimPrefix(m.Subject, advisory))
	})
	if err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	return g, b.nc.Flush()
}

// api lets a request through, answers it, or drops it. Headers are dropped:
// none of the requests needs any.
func (g *gate) api(r reader, subject string, m *nats.Msg) {
	if !isInbox(m.Reply) {
		return
	}
	name, ok := strings.CutPrefix(subject, "$JS.API.")
	if !ok {
		return
	}
	switch name {
	case "STREAM.NAMES":
		g.names(r, m)
		return
	case "INFO":
		g.answer(r, m, accountInfo(r))
		return
	}
	for _, s := range r.streams {
		switch rest, verb := cutRequest(name, string(s)); verb {
		case "":
			continue
		case "STREAM.INFO":
			if rest == "" {
				relay[server.JSApiStreamInfoRequest](g, r, subject, m)
			}
		case "STREAM.MSG.GET":
			if rest == "" {
				relay[server.JSApiMsgGetRequest](g, r, subject, m)
			}
		case "DIRECT.GET":
			g.pass(r, subject, m)
		case "CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE":
			g.create(r, s, verb, rest, m)
		case "CONSUMER.INFO":
			e := notFound
			if g.owns(r, s, rest) {
				e = g.ask(r, subject, nil, m)
			}
			if e != nil {
				g.refuse(r, m, e)
			}
		case "CONSUMER.DELETE":
			if g.owns(r, s, rest) {
				g.hand(r, subject, nil, m)
			} else {
				g.refuse(r, m, notFound)
			}
		case "CONSUMER.MSG.NEXT":
			if g.owns(r, s, rest) {
				g.pass(r, subject, m)
			} else {
				g.publish(&nats.Msg{Subject: r.out() + "." + m.Reply, Header: deleted})
			}
		}
	}
}

// deleted is what a reader is told that pulls from a consumer that isn't its
// own or isn't there: the status that the server sends to who was pulling when
// a consumer was deleted.
var deleted = nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}

// verbs are the requests that name a stream, by what stands before its name.
var verbs = []string{
	"STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET",
	"CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE",
	"CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT",
}

// cutRequest splits "CONSUMER.INFO.POSTERN_EVENTS.x" into its verb and what
// stands behind the stream. The verb is "" if it isn't a request about stream.
func cutRequest(name, stream string) (rest, verb string) {
	for _, verb := range verbs {
		after, ok := strings.CutPrefix(name, verb+"."+stream)
		if !ok {
			continue
		}
		if after == "" {
			return "", verb
		}
		if rest, ok := strings.CutPrefix(after, "."); ok {
			return rest, verb
		}
	}
	return "", ""
}

// acknowledge passes on what a reader says about a message of a consumer of
// its own: "$JS.ACK.<stream>.<consumer>.…", and the same for flow control.
func (g *gate) acknowledge(r reader, subject string, m *nats.Msg) {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 5 || m.Reply != "" && !isInbox(m.Reply) {
		return
	}
	stream := schemas.Stream(tokens[2])
	if slices.Contains(r.streams, stream) && g.owns(r, stream, tokens[3]) {
		g.pass(r, subject, m)
	}
}

// pass hands on what a stream or consumer answers. That goes to the reader's
// inbox without touching us again.
func (g *gate) pass(r reader, subject string, m *nats.Msg) {
	out := &nats.Msg{Subject: subject, Data: m.Data}
	if m.Reply != "" {
		out.Reply = r.out() + "." + m.Reply
	}
	g.publish(out)
}

// hand asks for a reader and hands it the answer. What the server's API answers
// can't pass from one account to the next by itself, unlike what streams and
// consumers send.
func (g *gate) hand(r reader, subject string, data []byte, m *nats.Msg) {
	answer, err := g.request(subject, data)
	if err != nil {
		g.refuse(r, m, notNow)
		return
	}
	g.publish(&nats.Msg{Subject: r.out() + "." + m.Reply, Header: answer.Header, Data: answer.Data})
}

// relay is hand for a request that says something. It is decoded and written
// again: the server would log what it can't read.
func relay[Request any](g *gate, r reader, subject string, m *nats.Msg) {
	var data []byte
	if len(m.Data) > 0 {
		var req Request
		err := json.Unmarshal(m.Data, &req)
		if err == nil {
			data, err = json.Marshal(req)
		}
		if err != nil {
			g.refuse(r, m, unclear)
			return
		}
	}
	g.hand(r, subject, data, m)
}

func (g *gate) request(subject string, data []byte) (*nats.Msg, error) {
	ctx, cancel, err := g.b.attempt(context.Background())
	if err != nil {
		return nil, err
	}
	defer cancel()
	return g.b.nc.RequestWithContext(ctx, subject, data)
}

func (g *gate) answer(r reader, m *nats.Msg, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		g.log.Error("answer to a reader can't be written", "error", err)
		return
	}
	g.publish(&nats.Msg{Subject: r.out() + "." + m.Reply, Data: data})
}

func (g *gate) publish(m *nats.Msg) {
	// Without a connection there is no reader either.
	if err := g.b.nc.PublishMsg(m); err != nil && g.b.closing.Err() == nil {
		g.log.Debug("request of a reader was not passed on", "error", err)
	}
}

func (g *gate) refuse(r reader, m *nats.Msg, e *server.ApiError) {
	g.answer(r, m, server.ApiResponse{Error: e})
}

var (
	notFound   = &server.ApiError{Code: 404, ErrCode: 10014, Description: "consumer not found"}
	notAllowed = &server.ApiError{Code: 403, Description: "not allowed here"}
	tooMany    = &server.ApiError{Code: 400, ErrCode: 10026, Description: "maximum consumers limit reached"}
	unclear    = &server.ApiError{Code: 400, ErrCode: 10025, Description: "invalid JSON"}
	notNow     = &server.ApiError{Code: 503, ErrCode: 10008, Description: "JetStream system temporarily unavailable"}
)

// isInbox reports whether a reader may be answered there.
func isInbox(subject string) bool {
	return strings.HasPrefix(subject, "_INBOX.") && len(subject) <= 256 && !strings.ContainsAny(subject, "*> \t\r\n")
}

// names answers which streams a reader may read, those with a given subject if
// the request names one: older clients look up that way where to subscribe.
func (g *gate) names(r reader, m *nats.Msg) {
	var req server.JSApiStreamNamesRequest
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, &req); err != nil {
			g.refuse(r, m, unclear)
			return
		}
	}
	found := []string{}
	for _, s := range r.streams {
		if req.Subject == "" || server.SubjectsCollide(req.Subject, s.Prefix()+".>") {
			found = append(found, string(s))
		}
	}
	slices.Sort(found)
	var answer server.JSApiStreamNamesResponse
	answer.Type = server.JSApiStreamNamesResponseType
	answer.Total, answer.Limit, answer.Offset = len(found), server.JSApiNamesLimit, min(max(req.Offset, 0), len(found))
	answer.Streams = found[answer.Offset:]
	g.answer(r, m, answer)
}

// accountInfo is what a reader is told who asks about its account, as clients do
// to find out whether there is JetStream: that there is, and nothing of what
// others have.
func accountInfo(r reader) server.JSApiAccountInfoResponse {
	var stats server.JetStreamAccountStats
	stats.Streams = len(r.streams)
	stats.Limits = server.JetStreamAccountLimits{
		MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: maxConsumers,
		MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}
	answer := server.JSApiAccountInfoResponse{JetStreamAccountStats: &stats}
	answer.Type = server.JSApiAccountInfoResponseType
	return answer
}
