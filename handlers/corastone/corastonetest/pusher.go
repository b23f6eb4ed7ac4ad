package corastonetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// ErrDiscarded is wrapped by the error of a push that SNS would now discard.
var ErrDiscarded = errors.New("discarded")

// Pusher posts as SNS does by default: three more tries, 20 seconds apart, if
// no answer comes within 15 seconds or it is not between 200 and 499.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
type Pusher struct {
	URL     string
	Retries int
	Pause   time.Duration
	Timeout time.Duration

	client *http.Client
}

// NewPusher returns a pusher with the default policy, which may be changed
// before first use. It calls from the local address from; a zero address
// leaves the choice to the system.
func NewPusher(url string, from netip.Addr) *Pusher {
	dialer := &net.Dialer{}
	if from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return &Pusher{
		URL: url, Retries: 3, Pause: 20 * time.Second, Timeout: 15 * time.Second,
		client: &http.Client{
			Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64}, // and no proxy
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}
}

// Close closes connections that are kept open.
func (p *Pusher) Close() { p.client.CloseIdleConnections() }

// Answer is what a push was answered.
type Answer struct {
	Status int // of the last answer, 0 if there was none
	Body   []byte
	Tries  int
}

// Delivered reports whether SNS would take it for delivered.
func (a Answer) Delivered() bool { return a.Status >= 200 && a.Status < 500 }

// Push posts push until it is delivered in the eyes of SNS. If it never is,
// the error wraps [ErrDiscarded]. It ends early with ctx.
func (p *Pusher) Push(ctx context.Context, push Push) (Answer, error) {
	var last Answer
	var err error
	for try := 1; ; try++ {
		last, err = p.try(ctx, push)
		last.Tries = try
		switch {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case last.Delivered():
			return last, nil
		case try > p.Retries && err != nil:
			return last, fmt.Errorf("%w after %d tries: %w", ErrDiscarded, try, err)
		case try > p.Retries:
			return last, fmt.Errorf("%w after %d tries, the last was answered %d", ErrDiscarded, try, last.Status)
		}
		pause := time.NewTimer(p.Pause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return last, ctx.Err()
		case <-pause.C:
		}
	}
}

func (p *Pusher) try(ctx context.Context, push Push) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(push.Body))
	if err != nil {
		return Answer{}, err
	}
	req.Header = push.Header.Clone()
	res, err := p.client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: res.StatusCode, Body: body}, nil
}
