package ingress

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// ClientIP says where a caller's address is taken from. The zero value means
// Direct.
type ClientIP string

// The ways to learn a caller's address.
const (
	// Direct believes the socket, and nobody's word.
	Direct ClientIP = "direct"
	// Forwarded believes what trusted proxies wrote into X-Forwarded-For: the
	// caller is the rightmost address that is not a trusted proxy's. Who
	// isn't a trusted proxy may call directly.
	Forwarded ClientIP = "forwarded"
	// ProxyProtocol believes the PROXY header, version 1 or 2, with which
	// trusted proxies must begin every connection. Nobody else may connect.
	ProxyProtocol ClientIP = "proxy-protocol"
)

// Check returns why proxies can't be trusted in this mode: there are none,
// which leaves nobody to believe, or they are everybody, whom any caller could
// then claim to be. Direct asks nobody and takes any.
func (m ClientIP) Check(proxies []netip.Prefix) error {
	switch m {
	case "", Direct:
		return nil
	case Forwarded, ProxyProtocol:
	default:
		return errors.New("is no way to learn a caller's address")
	}
	if len(proxies) == 0 {
		return errors.New("must not be empty: it says whose word on a caller's address is believed")
	}
	for _, p := range proxies {
		if !p.IsValid() || p.Addr().Is4In6() {
			return errors.New("has a prefix that can't match an address")
		}
	}
	for _, all := range []netip.Prefix{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	} {
		if covers(proxies, all) {
			return fmt.Errorf("must not be everybody: with %s any caller could claim any address", all)
		}
	}
	return nil
}

// covers reports whether every address of p is in one of prefixes.
func covers(prefixes []netip.Prefix, p netip.Prefix) bool {
	overlap := false
	for _, q := range prefixes {
		if !q.Overlaps(p) {
			continue
		}
		if q.Bits() <= p.Bits() {
			return true
		}
		overlap = true
	}
	if !overlap {
		return false
	}
	// Some prefix is a part of p, so that p has two halves.
	lower, upper := halves(p)
	return covers(prefixes, lower) && covers(prefixes, upper)
}

func halves(p netip.Prefix) (lower, upper netip.Prefix) {
	b := p.Masked().Addr().AsSlice()
	bits := p.Bits()
	lower = netip.PrefixFrom(p.Masked().Addr(), bits+1)
	b[bits/8] |= 0x80 >> (bits % 8)
	addr, _ := netip.AddrFromSlice(b)
	return lower, netip.PrefixFrom(addr, bits+1)
}

// callers tells whose a request is.
type callers struct {
	mode    ClientIP
	proxies []netip.Prefix
}

func (c callers) trusts(addr netip.Addr) bool { return contains(c.proxies, addr) }

// of returns the address of who made a request over a connection. It is the
// zero Addr, which is on no list, if there is none that can be believed.
func (c callers) of(own *conn, header http.Header) netip.Addr {
	switch c.mode {
	case Forwarded:
		return forwardedFor(own.peer, header["X-Forwarded-For"], c.proxies)
	case ProxyProtocol:
		return own.told
	default:
		return own.peer
	}
}

// forwardedFor returns the rightmost address that is no trusted proxy's, on
// the way from peer through all X-Forwarded-For headers. What stands left of
// it is anybody's word. It is the zero Addr if the way ends at a trusted
// proxy: because that one doesn't say for whom it speaks, or says what is no
// address (one with a port or a zone is none), or because every hop is
// trusted. The leftmost is nobody's proof of being a caller.
func forwardedFor(peer netip.Addr, headers []string, trusted []netip.Prefix) netip.Addr {
	if !contains(trusted, peer) {
		return peer
	}
	for i := len(headers) - 1; i >= 0; i-- {
		for rest, more := headers[i], true; more; {
			var hop string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, hop = rest[:at], rest[at+1:]
			} else {
				hop, more = rest, false
			}
			addr, err := netip.ParseAddr(strings.Trim(hop, " \t"))
			if err != nil || addr.Zone() != "" {
				return netip.Addr{}
			}
			if addr = addr.Unmap(); !contains(trusted, addr) {
				return addr
			}
		}
	}
	return netip.Addr{}
}
