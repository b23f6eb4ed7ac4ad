package ingress_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// v1 is the PROXY header of version 1 that a proxy announces addr with.
func v1(addr string) string {
	if a := netip.MustParseAddr(addr); a.Is6() {
		return "PROXY TCP6 " + addr + " 2001:db8:5::1 40000 443\r\n"
	}
	return "PROXY TCP4 " + addr + " 192.0.2.1 40000 443\r\n"
}

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"

	local, proxied = 0x20, 0x21 // commands
	unspec         = 0x00       // families
	tcp4, udp4     = 0x11, 0x12
	tcp6, udp6     = 0x21, 0x22
	stream         = 0x31
)

// v2 is the PROXY header of version 2 that a proxy announces addr with.
func v2(addr string) string { return v2With(addr, "") }

func v2With(addr, tlvs string) string {
	if a := netip.MustParseAddr(addr); a.Is6() {
		return raw2(proxied, tcp6, block6(addr)+tlvs)
	}
	return raw2(proxied, tcp4, block4(addr)+tlvs)
}

// raw2 is any header of version 2.
func raw2(command, family byte, rest string) string {
	return signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

func block4(addr string) string {
	src, dst := netip.MustParseAddr(addr).As4(), netip.MustParseAddr("192.0.2.1").As4()
	return string(src[:]) + string(dst[:]) + "\x9c\x40\x01\xbb"
}

func block6(addr string) string {
	src, dst := netip.MustParseAddr(addr).As16(), netip.MustParseAddr("2001:db8:5::1").As16()
	return string(src[:]) + string(dst[:]) + "\x9c\x40\x01\xbb"
}

// tlv is a field that means nothing.
func tlv(length int) string {
	return "\xe0" + string(binary.BigEndian.AppendUint16(nil, uint16(length))) + strings.Repeat("x", length)
}

func one(head string) []string { return []string{head} }

// single sends a text in pieces of a byte each.
func single(text string) []string { return strings.Split(text, "") }

// proxyCalls: who calls is whom a trusted proxy announces.
func proxyCalls() []call {
	calls := []call{
		{name: "v1", from: proxy, head: one(v1(partner)), want: served},
		{name: "v1, IPv6", from: proxy, head: one(v1(partner6)), want: served},
		{name: "v1, mapped", from: proxy, head: one("PROXY TCP6 ::ffff:203.0.113.7 2001:db8:5::1 1 2\r\n"), want: served},
		{name: "v1, mapped in hex", from: proxy, head: one("PROXY TCP6 ::ffff:cb00:7107 2001:db8:5::1 1 2\r\n"), want: served},
		{name: "v1, greatest ports", from: proxy, head: one("PROXY TCP4 203.0.113.7 192.0.2.1 65535 65535\r\n"), want: served},
		{name: "v1, port 0", from: proxy, head: one("PROXY TCP4 203.0.113.7 192.0.2.1 0 0\r\n"), want: served},
		{name: "v1, in full", from: proxy, head: one("PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"), want: served},
		{name: "v1 in two pieces", from: proxy, head: []string{"PROXY TCP4 203.0", ".113.7 192.0.2.1 1 2\r\n"}, want: served},
		{name: "v1 byte by byte", from: proxy, head: single(v1(partner)), want: served},
		{name: "v1, friend", from: proxy, head: one(v1(friend)), want: served},
		{name: "v1 with a forwarded stranger", from: proxy, head: one(v1(partner)), lines: xff(attacker), want: served},
		{name: "v2", from: proxy, head: one(v2(partner)), want: served},
		{name: "v2, IPv6", from: proxy, head: one(v2(partner6)), want: served},
		{name: "v2, mapped", from: proxy, head: one(raw2(proxied, tcp6, block6("::ffff:203.0.113.7"))), want: served},
		{name: "v2 in two pieces", from: proxy, head: []string{v2(partner)[:7], v2(partner)[7:]}, want: served},
		{name: "v2 byte by byte", from: proxy, head: single(v2(partner)), want: served},
		{name: "v2 with one more field", from: proxy, head: one(v2With(partner, tlv(11))), want: served},
		{name: "v2 with many fields", from: proxy, head: one(v2With(partner, strings.Repeat(tlv(3), 100))), want: served},
		{name: "v2 as long as may be", from: proxy, head: one(v2With(partner, tlv(4096-12-3))), want: served},
		{name: "v2 with a forwarded stranger", from: proxy, head: one(v2(partner)), lines: xff(attacker), want: served},
		{name: "v2 from another proxy", from: "127.0.1.254", head: one(v2(partner)), want: served},

		{name: "v1, stranger", from: proxy, head: one(v1(attacker)), want: refused},
		{name: "v1, stranger, IPv6", from: proxy, head: one(v1("2001:db8::8")), want: refused},
		{name: "v1, neighbor", from: proxy, head: one(v1(neighbor)), want: refused},
		{name: "v1, a proxy", from: proxy, head: one(v1(proxy2)), want: refused},
		{name: "v1, stranger with a forwarded partner", from: proxy, head: one(v1(attacker)), lines: xff(partner), want: refused},
		{name: "v1, NAT64", from: proxy, head: one(v1("64:ff9b::cb00:7107")), want: refused},
		{name: "v1, 6to4", from: proxy, head: one(v1("2002:cb00:7107::1")), want: refused},
		{name: "v1, IPv4-compatible", from: proxy, head: one(v1("::203.0.113.7")), want: refused},
		{name: "v1, UNKNOWN", from: proxy, head: one("PROXY UNKNOWN\r\n"), want: refused},
		{name: "v1, UNKNOWN with a partner", from: proxy, head: one("PROXY UNKNOWN 203.0.113.7 192.0.2.1 1 2\r\n"), want: refused},
		{name: "v1, UNKNOWN with a forwarded partner", from: proxy, head: one("PROXY UNKNOWN\r\n"), lines: xff(partner), want: refused},
		{name: "v2, stranger", from: proxy, head: one(v2(attacker)), want: refused},
		{name: "v2, stranger, mapped", from: proxy, head: one(raw2(proxied, tcp6, block6("::ffff:198.51.100.66"))), want: refused},
		{name: "v2, stranger with a partner in a field", from: proxy, head: one(v2With(attacker, tlv(1)+"\xe1\x00\x04\xcb\x00\x71\x07")), want: refused},
		{name: "v2, stranger with a forwarded partner", from: proxy, head: one(v2(attacker)), lines: xff(partner), want: refused},
		{name: "v2, LOCAL", from: proxy, head: one(raw2(local, unspec, "")), want: refused},
		{name: "v1, UNKNOWN, the proxy on the list", from: proxy3, head: one("PROXY UNKNOWN\r\n"), want: refused},
		{name: "v2, LOCAL, the proxy on the list", from: proxy3, head: one(raw2(local, unspec, "")), want: refused},
		{name: "v2, stranger, the proxy on the list", from: proxy3, head: one(v2(attacker)), want: refused},
		{name: "v2, LOCAL with a partner", from: proxy, head: one(raw2(local, tcp4, block4(partner))), want: refused},
		{name: "v2, LOCAL without what it names", from: proxy, head: one(raw2(local, tcp4, "")), want: refused},
		{name: "v2, LOCAL with a forwarded partner", from: proxy, head: one(raw2(local, unspec, "")), lines: xff(partner), want: refused},
		{name: "v2, a datagram's partner", from: proxy, head: one(raw2(proxied, udp4, block4(partner))), want: refused},
		{name: "v2, a datagram's partner, IPv6", from: proxy, head: one(raw2(proxied, udp6, block6(partner6))), want: refused},
		{name: "v2, a file's", from: proxy, head: one(raw2(proxied, stream, partner+strings.Repeat("\x00", 216-len(partner)))), want: refused},

		{name: "v1 of a direct friend", from: friend, head: one(v1(partner)), want: ended},
		{name: "v1 of a stranger", from: stranger, head: one(v1(partner)), want: ended},
		{name: "v2 of a stranger", from: stranger, head: one(v2(partner)), want: ended},
		{name: "v2 from just outside the proxies", from: "127.0.2.1", head: one(v2(partner)), want: ended},
		{name: "nothing of a direct friend", from: friend, want: ended},
		{name: "nothing of a proxy on the list", from: proxy3, want: ended},
		{name: "nothing of a stranger", from: stranger, want: ended},
		{name: "forwarded by a stranger", from: stranger, lines: xff(partner), want: ended},
		{name: "v1 twice", from: proxy, head: one(v1(attacker) + v1(partner)), want: broken},
		{name: "v2 twice", from: proxy, head: one(v2(attacker) + v2(partner)), want: broken},
		{name: "v1 in v2", from: proxy, head: one(v2(attacker) + v1(partner)), want: broken},
	}
	for i := range calls {
		calls[i].server = "proxy"
	}
	for _, server := range []string{"proxy6", "proxyTLS"} {
		secure := server == "proxyTLS"
		calls = append(calls,
			call{server: server, name: "v1", from: proxy, tls: secure, head: one(v1(partner)), want: served},
			call{server: server, name: "v2", from: proxy, tls: secure, head: one(v2(partner)), want: served},
			call{server: server, name: "v2 with a field", from: proxy, tls: secure, head: one(v2With(partner6, tlv(300))), want: served},
			call{server: server, name: "v2 in two pieces", from: proxy, tls: secure, head: []string{v2(partner)[:20], v2(partner)[20:]}, want: served},
			call{server: server, name: "v1, stranger", from: proxy, tls: secure, head: one(v1(attacker)), want: refused},
			call{server: server, name: "v2, LOCAL", from: proxy, tls: secure, head: one(raw2(local, unspec, "")), want: refused},
			call{server: server, name: "nothing", from: proxy, tls: secure, want: ended},
			call{server: server, name: "v2 of a stranger", from: stranger, tls: secure, head: one(v2(partner)), want: ended},
		)
	}
	return calls
}

// badAnnouncements are what a trusted proxy must not begin with.
func badAnnouncements() []call {
	var calls []call
	for name, head := range map[string]string{
		"nothing":                  "",
		"small letters":            "proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
		"no CR":                    "PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n",
		"no LF":                    "PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r",
		"two spaces":               "PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n",
		"no space":                 "PROXYTCP4 203.0.113.7 192.0.2.1 1 2\r\n",
		"more after PROXY":         "PROXYX TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
		"space first":              " PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
		"line first":               "\r\nPROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
		"no protocol":              "PROXY 203.0.113.7 192.0.2.1 1 2\r\n",
		"UDP4":                     "PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n",
		"no ports":                 "PROXY TCP4 203.0.113.7 192.0.2.1\r\n",
		"one port":                 "PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n",
		"one word more":            "PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n",
		"no such port":             "PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n",
		"port below 0":             "PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n",
		"port with a 0":            "PROXY TCP4 203.0.113.7 192.0.2.1 080 2\r\n",
		"address with zeros":       "PROXY TCP4 203.0.113.007 192.0.2.1 1 2\r\n",
		"address with a port":      "PROXY TCP4 203.0.113.7:1 192.0.2.1 1 2\r\n",
		"address with a zone":      "PROXY TCP6 2001:db8::7%eth0 2001:db8:5::1 1 2\r\n",
		"IPv6 as TCP4":             "PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
		"IPv4 as TCP6":             "PROXY TCP6 203.0.113.7 2001:db8:5::1 1 2\r\n",
		"mapped as TCP4":           "PROXY TCP4 ::ffff:203.0.113.7 192.0.2.1 1 2\r\n",
		"no address":               "PROXY TCP4 partner 192.0.2.1 1 2\r\n",
		"too long":                 "PROXY UNKNOWN " + strings.Repeat("f", 100) + "\r\n",
		"much too long":            "PROXY TCP4 " + strings.Repeat("2", 100<<10),
		"other end of signature":   strings.Replace(v2(partner), "QUIT", "EXIT", 1),
		"other version":            raw2(0x11, tcp4, block4(partner)),
		"next version":             raw2(0x31, tcp4, block4(partner)),
		"other command":            raw2(0x22, tcp4, block4(partner)),
		"other transport":          raw2(proxied, 0x13, block4(partner)),
		"other family":             raw2(proxied, 0x41, block4(partner)),
		"no family":                raw2(proxied, unspec, ""),
		"no family but an address": raw2(proxied, unspec, block4(partner)),
		"address cut":              raw2(proxied, tcp4, block4(partner)[:11]),
		"IPv6 address cut":         raw2(proxied, tcp6, block6(partner6)[:35]),
		"v2 a byte too long":       v2With(partner, tlv(4096-12-3+1)),
		"v2 much too long":         v2With(partner, tlv(60000)),
		"LOCAL much too long":      raw2(local, unspec, strings.Repeat("x", 60000)),
	} {
		calls = append(calls, call{server: "proxy", name: "bad: " + name, from: proxy, head: one(head), want: ended})
	}
	for name, head := range map[string][]string{
		"nothing":       {""},
		"v1":            {"PROXY TCP4 203."},
		"v1 word":       {"PRO"},
		"v2 signature":  {signature[:5]},
		"v2 length":     {signature + "\x21\x11\x00"},
		"v2 address":    {v2(partner)[:20]},
		"v2 field":      {v2With(partner, tlv(100))[:60]},
		"v2 in pieces":  {v2(partner)[:3], v2(partner)[3:9], v2(partner)[9:15]},
		"v1 in pieces":  {"PROXY ", "TCP4 ", partner},
		"all of v1":     {v1(partner)},
		"all of v2":     {v2(partner)},
		"a hello's end": {"\x16\x03\x01"},
	} {
		calls = append(calls,
			call{server: "proxy", name: "silent after " + name, from: proxy, head: head, silent: true, want: ended},
			call{server: "proxyTLS", name: "silent after " + name, from: proxy, head: head, silent: true, want: ended},
		)
	}
	return append(calls,
		call{
			server: "proxy", name: "silent in the header", from: proxy, silent: true, want: ended,
			head: []string{v2(partner), "POST /hooks/one HTTP/1.1\r\nHost: x\r\n"},
		},
		// Each byte comes soon after the one before, and the last too late.
		call{server: "proxy", name: "slow v1", from: proxy, head: single(v1(partner)), pause: 150 * time.Millisecond, want: ended},
		call{server: "proxy", name: "slow v2", from: proxy, head: single(v2(partner)), pause: 250 * time.Millisecond, want: ended},
		call{server: "proxyTLS", name: "slow v2", from: proxy, head: single(v2(partner)), pause: 250 * time.Millisecond, tls: true, want: ended},
	)
}
