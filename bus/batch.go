package bus

import (
	"context"
	"encoding/json" // as nats.go, whose error it decodes
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/seed75441868/postern/schemas"
)

// An atomic batch (NATS ADR-50) is a run of messages with one batch id and
// ascending numbers, of which the last one asks to commit. The server keeps
// them aside until then, stores all or none, syncs once and acknowledges with
// the sequence of the last. nats.go has no helper for it.
//
// A batch that is never committed, because the connection was lost, is dropped
// by the server after 10 seconds; nothing of it is stored. Until then it counts
// against the 50 that a stream may have open. Beyond those the first message of
// a batch is refused, which shows as an incomplete batch at its end (10176).
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

const (
	// minBatch is where a batch begins to be cheaper: it costs about as many
	// syncs as 6 to 10 single messages.
	minBatch = 16
	// maxBatch and maxBatchBytes bound what the server must keep aside. Its
	// own limit is 1000 messages.
	maxBatch      = 500
	maxBatchBytes = 8 << 20
)

// batch stores all messages, or none if the server rejects them. Without an
// answer either may be: then a repeat, which has a new batch id, finds the same
// message ids there or not. It adds to the messages' headers.
func (b *Bus) batch(ctx context.Context, msgs []*nats.Msg) ([]uint64, error) {
	ctx, cancel, err := b.attemptAt(ctx, schemas.Stream(msgs[0].Header.Get(jetstream.ExpectedStreamHeader)))
	if err != nil {
		return nil, err
	}
	defer cancel()
	id, last := nuid.Next(), len(msgs)-1
	part := func(i int) *nats.Msg {
		m := msgs[i]
		m.Header[headerBatchID] = []string{id}
		m.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		return m
	}
	for i := range last {
		if err := b.nc.PublishMsg(part(i)); err != nil {
			return nil, classified(explained(ctx, err))
		}
	}
	commit := part(last)
	commit.Header[headerBatchCommit] = []string{"1"}
	answer, err := b.nc.RequestMsgWithContext(ctx, commit)
	if err != nil {
		return nil, explained(ctx, err)
	}
	return committed(answer.Data, id, len(msgs))
}

// commitAck is the answer to a commit. It repeats the batch's id and says how
// many messages it has, which nobody does who doesn't know batches.
type commitAck struct {
	Error    *jetstream.APIError `json:"error"`
	Sequence uint64              `json:"seq"`
	Batch    string              `json:"batch"`
	Count    int                 `json:"count"`
}

// errNoBatch says that a batch was not taken for one: which of its messages are
// stored is unknown.
var errNoBatch = errors.New("the server did not take a batch for one")

// committed returns the sequences of a batch of n messages, by the answer to
// its commit.
func committed(answer []byte, id string, n int) ([]uint64, error) {
	var ack commitAck
	if err := json.Unmarshal(answer, &ack); err != nil {
		return nil, fmt.Errorf("answer to a batch: %w", errors.Join(errNoBatch, err))
	}
	if ack.Error != nil {
		return nil, ack.Error
	}
	if ack.Batch != id || ack.Count != n || ack.Sequence < uint64(n) {
		return nil, errNoBatch
	}
	seqs := make([]uint64, n)
	for i := range seqs {
		seqs[i] = ack.Sequence - uint64(n-1-i)
	}
	return seqs, nil
}

// The server's error codes for a batch that say something about one of its
// messages, or about batches, so that publishing one by one may succeed:
// one id is there already (10201) or in process (10158), a message is missing
// because it was refused when it came (10176), it is too large (10054, 10097),
// batches are not allowed on this stream (10174), not this large (10199), or
// too many are open (10210).
var rejections = map[jetstream.ErrorCode]bool{
	10201: true, 10158: true, 10176: true, 10054: true, 10097: true, 10174: true, 10199: true, 10210: true,
}

// rejected reports whether publishing one by one may succeed where a batch
// failed.
func rejected(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, errNoBatch) || errors.As(err, &api) && rejections[api.ErrorCode]
}
