package corastonetest

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Topic is a topic for those who need only one.
const Topic = "arn:aws:sns:eu-central-1:111122223333:integration-api-notifications-standin1"

// Node is a stand-in of an organisation's Corastone node. It makes up ids and
// blocks and signs what it tells. It is safe for concurrent use.
type Node struct {
	// Version is the SignatureVersion, "1" or "2". Change it before first use.
	Version string

	signer  *Signer
	topic   string
	channel string

	mu    sync.Mutex
	rand  *rand.Rand
	block int64
}

// NewNode returns a node that pushes to a topic. Two nodes of the same seed
// make up the same ids in the same order.
func NewNode(s *Signer, topic string, seed uint64) *Node {
	return &Node{
		Version: "1",
		signer:  s,
		topic:   topic,
		channel: topic[strings.LastIndexByte(topic, '-')+1:],
		rand:    rand.New(rand.NewPCG(seed, 0)),
		block:   1000,
	}
}

// Process returns a transaction that just got a status. Only one that ended
// is on the ledger.
func (n *Node) Process(method, status string, assetIDs ...string) Process {
	p := Process{
		ProcessID: n.UUID(),
		Status:    status,
		Type:      "issuance",
		Method:    method,
		Timestamp: now(),
	}
	if status == "success" {
		p.BlockchainDetails = n.ledger()
	}
	if len(assetIDs) > 0 {
		p.Details = map[string][]string{"assetIds": assetIDs}
	}
	return p
}

// Orchestration returns a sequence of transactions that just got a status.
func (n *Node) Orchestration(status string, processes ...Process) Orchestration {
	o := Orchestration{OrchestrationID: n.UUID(), StartDate: now(), Status: status, ProcessIDs: []string{}}
	if status != "queued" && status != "in_progress" {
		o.Timestamp = o.StartDate
	}
	for _, p := range processes {
		o.ProcessIDs = append(o.ProcessIDs, p.ProcessID)
	}
	return o
}

// Error returns an entry of the error log about a call of the API.
func (n *Node) Error(name, method, url string) Error {
	return Error{
		ErrorID:   n.UUID(),
		Timestamp: now(),
		Action:    Action{HTTPData: HTTPData{Method: method, URL: url}, Name: name, ID: "PM" + n.text(3, "0123456789")},
	}
}

// Job returns a task.
func (n *Node) Job(name string) Job {
	return Job{"jobId": n.UUID(), "name": name, "timestamp": now()}
}

// Notify returns the push that brings an entry.
func (n *Node) Notify(e Entry) (Push, error) {
	signed, err := n.signer.Sign(n.Notification(e))
	return signed.Push(), err
}

// Notification returns the envelope of an entry, not yet signed.
func (n *Node) Notification(e Entry) Envelope {
	envelope := Envelope{
		Type:             TypeNotification,
		MessageID:        n.UUID(),
		TopicARN:         n.topic,
		Message:          e.Entry(),
		Timestamp:        now(),
		SignatureVersion: n.Version,
	}
	if p, ok := e.(Process); ok {
		subject := p.Status + " Reconciliation on Process " + p.ProcessID
		envelope.Subject = &subject
	}
	return envelope
}

// Confirmation returns the envelope, not yet signed, that asks to confirm a
// subscription, or with [TypeUnsubscribeConfirmation] says that it ended. Its
// URL leads nowhere.
func (n *Node) Confirmation(typ string) Envelope {
	token := n.text(64, "0123456789abcdef")
	return Envelope{
		Type:             typ,
		MessageID:        n.UUID(),
		Token:            token,
		TopicARN:         n.topic,
		Message:          "A stand-in of SNS says this of the topic " + n.topic + ".",
		SubscribeURL:     "https://sns.invalid/?Action=ConfirmSubscription&TopicArn=" + n.topic + "&Token=" + token,
		Timestamp:        now(),
		SignatureVersion: n.Version,
	}
}

// AssetID makes up the id of a subscription.
func (n *Node) AssetID() string { return n.text(12, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") }

// UUID makes up an id.
func (n *Node) UUID() string {
	b := n.bytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// ledger returns the place of the next transaction.
func (n *Node) ledger() *Place {
	id := hex.EncodeToString(n.bytes(32))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.block++
	return &Place{BlockNumber: n.block, ChannelName: n.channel, TransactionID: id}
}

func (n *Node) bytes(size int) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n.rand.UintN(256))
	}
	return b
}

func (n *Node) text(length int, alphabet string) string {
	b := n.bytes(length)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

func now() string { return time.Now().UTC().Format(TimeLayout) }
