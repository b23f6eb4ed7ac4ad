package ingress

import (
	"bufio"
	"bytes"
	"errors"
	"net"

	"github.com/pires/go-proxyproto"
)

// announcement is the PROXY header that a trusted proxy's connection begins
// with, before anything else and before TLS. The format is in
// https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt. The library
// takes none that is longer than 107 bytes (version 1) or 4 KiB (version 2).
type announcement struct {
	r    *bufio.Reader // over the bare connection
	read bool
	err  error
}

// These end a connection. To net/http they look like one that broke, to which
// nothing is answered.
var (
	errAnnouncement = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("no PROXY header")}
	errNoPlace      = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("no place for a stranger")}
)

const (
	maxLine            = 107 // the longest line of version 1
	announcementBuffer = 256 // must hold one
)

// Read implements net.Conn. Nothing else reads the PROXY header, so that it is
// read by the goroutine that serves the connection and never by the one that
// accepts, and before the deadline that net/http set for the first header.
func (c *conn) Read(p []byte) (int, error) {
	a := c.announced
	if a == nil {
		return c.Conn.Read(p)
	}
	if !a.read {
		a.read = true
		a.err = c.hearWho(a.r)
	}
	if a.err != nil {
		return 0, a.err
	}
	if a.r.Buffered() > 0 {
		return a.r.Read(p)
	}
	c.announced = nil
	return c.Conn.Read(p)
}

// hearWho reads the PROXY header, and finds the connection's place among the
// others now that it is known whose it is.
func (c *conn) hearWho(r *bufio.Reader) error {
	if err := awaitLine(r); err != nil {
		if r.Buffered() > 0 {
			c.listener.turnAway(c, "proxy_header")
		}
		return err // broken or too slow
	}
	h, err := proxyproto.Read(r)
	if err != nil {
		c.listener.turnAway(c, "proxy_header")
		return errAnnouncement
	}
	// UNKNOWN and LOCAL are connections of the proxy's own, or callers of
	// whom it can't say more: nobody's.
	if !h.Command.IsLocal() {
		c.told = address(h.SourceAddr)
	}
	if !c.listener.limits.told(c, c.listener.class(c.told)) {
		return errNoPlace
	}
	return nil
}

// awaitLine returns when r holds a whole line, if it begins like a PROXY
// header of version 1. The library waits for the rest of version 2 itself, but
// takes a line only if it came in one piece.
func awaitLine(r *bufio.Reader) error {
	for {
		if _, err := r.Peek(r.Buffered() + 1); err != nil {
			return err
		}
		got, _ := r.Peek(r.Buffered())
		if got[0] != proxyproto.SIGV1[0] || bytes.IndexByte(got, '\n') >= 0 || len(got) >= maxLine {
			return nil
		}
	}
}
