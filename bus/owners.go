package bus

import (
	"context"
	"encoding/json" // the server's own types know no other
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/seed75441868/postern/schemas"
)

// ownerKey marks a consumer with the account of the reader that made it.
const ownerKey = "postern-reader"

// maxConsumers bounds the consumers that one reader may have.
const maxConsumers = 500

// maxInactive is how long at most an unused consumer is kept that asks for it.
const maxInactive = 7 * 24 * time.Hour

var consumerName = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,64}$`)

// create makes a consumer for a reader. The request is decoded and written
// again, so that the server reads exactly what was judged.
func (g *gate) create(r reader, s schemas.Stream, verb, rest string, m *nats.Msg) {
	var req server.CreateConsumerRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		g.refuse(r, m, unclear)
		return
	}
	name, filter, filtered := strings.Cut(rest, ".")
	if name == "" { // the oldest form leaves the choice of the name to the server
		name = nuid.Next()
	}
	subject := "$JS.API." + verb + "." + string(s) + "." + name
	if filtered {
		subject += "." + filter
	}
	config := &req.Config
	config.Name = name
	if !consumerName.MatchString(name) || config.Direct || config.Sourcing ||
		config.Durable != "" && config.Durable != name ||
		config.DeliverSubject != "" && !isInbox(config.DeliverSubject) {
		g.refuse(r, m, notAllowed)
		return
	}
	if config.DeliverSubject != "" {
		config.DeliverSubject = r.out() + "." + config.DeliverSubject
	}
	config.InactiveThreshold = min(config.InactiveThreshold, maxInactive)
	config.Metadata = map[string]string{ownerKey: r.account}
	data, err := json.Marshal(req)
	if err != nil {
		g.refuse(r, m, unclear)
		return
	}
	e := g.claim(r, s, name)
	if e == nil {
		if e = g.ask(r, subject, data, m); e == nil {
			return
		}
		g.forget(string(s) + "." + name) // if it exists, it is found again
	}
	g.refuse(r, m, e)
}

// ask asks the server for what it says about a consumer and hands it on, with
// the deliver subject as the reader knows it. It returns the server's error,
// for which there is no answer yet.
func (g *gate) ask(r reader, subject string, data []byte, m *nats.Msg) *server.ApiError {
	answer, err := g.request(subject, data)
	if err != nil {
		return notNow
	}
	var said server.JSApiConsumerInfoResponse
	if err := json.Unmarshal(answer.Data, &said); err != nil {
		g.log.Error("answer of the server can't be read", "error", err)
		return notNow
	}
	if said.Error != nil {
		return said.Error
	}
	if said.ConsumerInfo != nil && said.Config != nil {
		said.Config.DeliverSubject = strings.TrimPrefix(said.Config.DeliverSubject, r.out()+".")
	}
	g.answer(r, m, said)
	return nil
}

// claim notes that a consumer is a reader's, unless it is somebody else's.
func (g *gate) claim(r reader, s schemas.Stream, name string) *server.ApiError {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := string(s) + "." + name
	owner, exists, err := g.owner(key)
	if err != nil {
		return notNow
	}
	if exists {
		if owner != r.account {
			return notAllowed
		}
		return nil
	}
	n := 0
	for _, owner := range g.owners {
		if owner == r.account {
			n++
		}
	}
	if n >= maxConsumers {
		return tooMany
	}
	g.owners[key] = r.account
	return nil
}

func (g *gate) owns(r reader, s schemas.Stream, name string) bool {
	if !consumerName.MatchString(name) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	owner, exists, err := g.owner(string(s) + "." + name)
	return err == nil && exists && owner == r.account
}

func (g *gate) forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.owners, key)
}

// reserve keeps a consumer's name from readers.
func (g *gate) reserve(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ours == nil {
		g.ours = map[string]bool{}
	}
	g.ours[key] = true
}

// owner returns whose a consumer is, "" if it is no reader's, and whether it
// exists.
func (g *gate) owner(key string) (owner string, exists bool, err error) {
	if g.ours[key] {
		return "", true, nil
	}
	if err := g.load(); err != nil {
		return "", false, err
	}
	if owner, ok := g.owners[key]; ok {
		return owner, true, nil
	}
	ctx, cancel, err := g.b.attempt(context.Background())
	if err != nil {
		return "", false, err
	}
	defer cancel()
	stream, name, _ := strings.Cut(key, ".")
	c, err := g.b.js.Consumer(ctx, stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	g.owners[key] = c.CachedInfo().Config.Metadata[ownerKey]
	return g.owners[key], true, nil
}

// load reads which consumers there are and whose they are, once for every
// connection: a restart of the server may have ended some.
func (g *gate) load() error {
	epoch := g.b.Epoch()
	if g.owners != nil && g.epoch == epoch {
		return nil
	}
	ctx, cancel, err := g.b.attempt(context.Background())
	if err != nil {
		return err
	}
	defer cancel()
	owners := map[string]string{}
	for _, s := range schemas.Streams() {
		stream, err := g.b.js.Stream(ctx, string(s))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			owners[string(s)+"."+info.Name] = info.Config.Metadata[ownerKey]
		}
		if err := list.Err(); err != nil {
			return err
		}
	}
	g.owners, g.epoch = owners, epoch
	return nil
}
