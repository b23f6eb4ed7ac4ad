package poll_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/schemas"
)

// mailbox delivers messages as the bus does: again and again until they are
// done.
type mailbox struct {
	mu       sync.Mutex
	letters  []*letter
	wake     chan struct{} // closed when something changes
	loseDone int           // how many acknowledgements get lost
	names    []string      // of those who consume
}

type letter struct {
	box        *mailbox
	message    schemas.Message
	seq        uint64
	deliveries int
	due        time.Time
	wait       time.Duration
	done       bool
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{})} }

func (b *mailbox) changed() {
	close(b.wake)
	b.wake = make(chan struct{})
}

// put publishes events.
func (b *mailbox) put(events ...schemas.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		msgs, err := e.Messages()
		if err != nil {
			return err
		}
		b.letters = append(b.letters, &letter{box: b, message: msgs[0], seq: uint64(len(b.letters) + 1)})
	}
	b.changed()
	return nil
}

// open returns how many messages are not done.
func (b *mailbox) open() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.letters {
		if !l.done {
			n++
		}
	}
	return n
}

func (b *mailbox) Consume(ctx context.Context, c poll.Consumption, fn func(poll.Message)) error {
	b.mu.Lock()
	b.names = append(b.names, string(c.Stream)+" "+c.Durable+" "+strings.Join(c.Subjects, ","))
	b.mu.Unlock()
	for {
		b.mu.Lock()
		now := time.Now()
		var next *letter
		soon := now.Add(time.Hour)
		for _, l := range b.letters {
			if l.done || l.message.Stream != c.Stream || !matches(c.Subjects, l.message.Subject) {
				continue
			}
			if !l.due.After(now) {
				next = l
				break
			}
			if l.due.Before(soon) {
				soon = l.due
			}
		}
		wake := b.wake
		if next != nil {
			next.deliveries++
			next.wait, next.due = c.AckWait, now.Add(c.AckWait)
			m := poll.Message{
				Seq: next.seq, Header: next.message.Header, Data: next.message.Body, Deliveries: next.deliveries, Reply: next,
			}
			b.mu.Unlock()
			fn(m)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-time.After(time.Until(soon)):
		}
	}
}

func matches(filters []string, subject string) bool {
	for _, f := range filters {
		if f == subject || strings.HasSuffix(f, ".*") && subject[:strings.LastIndex(subject, ".")+1]+"*" == f {
			return true
		}
	}
	return false
}

func (l *letter) Done(context.Context) error {
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	if l.box.loseDone > 0 {
		l.box.loseDone--
		return errors.New("nobody heard it")
	}
	l.done = true
	return nil
}

func (l *letter) Later(delay time.Duration) error {
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	l.due = time.Now().Add(delay)
	l.box.changed()
	return nil
}

func (l *letter) Working() error {
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	l.due = time.Now().Add(l.wait)
	return nil
}

// delivered returns how often messages were delivered.
func (b *mailbox) delivered() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.letters {
		n += l.deliveries
	}
	return n
}
