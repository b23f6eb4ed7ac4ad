package ingress_test

import "strings"

// forwardedCalls: who calls is the rightmost address that is no proxy's.
func forwardedCalls() []call {
	calls := []call{
		{name: "direct friend", from: friend, want: served},
		{name: "direct friend with a forwarded stranger", from: friend, lines: xff(attacker), want: served},
		{name: "direct friend with nonsense", from: friend, lines: xff("partner:1,,%"), want: served},
		{name: "direct stranger", from: stranger, want: refused},
		{name: "direct stranger claims a partner", from: stranger, lines: xff(partner), want: refused},
		{name: "direct stranger claims a chain", from: stranger, lines: xff(partner + ", " + proxy), want: refused},
		{name: "direct stranger claims two headers", from: stranger, lines: xff(partner, proxy), want: refused},
		{name: "direct neighbor claims a partner", from: neighbor, lines: xff(partner), want: refused},
		{name: "just outside the proxies", from: "127.0.2.1", lines: xff(partner), want: refused},
		{name: "no header", from: proxy, want: refused},
		{name: "no header, the proxy on the list", from: proxy3, want: refused},
		{name: "nonsense, the proxy on the list", from: proxy3, lines: xff("nonsense"), want: refused},
		{name: "a port, the proxy on the list", from: proxy3, lines: xff(attacker + ":1"), want: refused},
		{name: "a proxy on the list behind one", from: proxy, lines: xff(proxy3), want: refused},
		{name: "nonsense behind a proxy on the list", from: proxy, lines: xff("nonsense, " + proxy3), want: refused},
		{name: "stranger behind a proxy on the list", from: proxy3, lines: xff(attacker), want: refused},
		{name: "only X-Real-IP", from: proxy, lines: []string{"X-Real-IP: " + partner}, want: refused},
		{name: "only Forwarded", from: proxy, lines: []string{"Forwarded: for=" + partner}, want: refused},
		{name: "underscores", from: proxy, lines: []string{"X_Forwarded_For: " + partner}, want: refused},
		{name: "other case of the name", from: proxy, lines: []string{"x-forwarded-FOR: " + partner}, want: served},
		{name: "space before the colon", from: proxy, lines: []string{"X-Forwarded-For : " + partner}, want: broken},
		{name: "X-Real-IP beside a stranger", from: proxy, lines: append(xff(attacker), "X-Real-IP: "+partner), want: refused},
		{name: "X-Real-IP beside a partner", from: proxy, lines: append(xff(partner), "X-Real-IP: "+attacker), want: served},
		{name: "hop by hop", from: proxy, lines: append(xff(attacker), "Connection: X-Forwarded-For"), want: refused},
		{name: "folded", from: proxy, lines: []string{"X-Forwarded-For: " + attacker + ",", " " + partner}, want: served},
		{name: "folded, a stranger last", from: proxy, lines: []string{"X-Forwarded-For: " + partner + ",", "\t" + attacker}, want: refused},
		{name: "folded without a comma", from: proxy, lines: []string{"X-Forwarded-For: " + attacker, " " + partner}, want: refused},
		{name: "in the trailer", from: proxy, lines: []string{
			"Transfer-Encoding: chunked", "Trailer: X-Forwarded-For", "", "5", "ok tr", "0", "X-Forwarded-For: " + partner, "",
		}, want: refused},
		{name: "announced", from: proxy, head: []string{v1(partner)}, want: broken},
		{name: "another proxy", from: "127.0.1.254", lines: xff(partner), want: served},
		{name: "five hundred hops left of it", from: proxy, lines: xff(strings.Repeat(attacker+",", 500) + partner), want: served},
		{name: "five hundred partners left of a stranger", from: proxy, lines: xff(strings.Repeat(partner+",", 500) + attacker), want: refused},
		{name: "two hundred trusted hops", from: proxy, lines: xff(partner + strings.Repeat(","+proxy2, 200)), want: served},
		{name: "two headers", from: proxy, lines: xff(attacker, partner), want: served},
		{name: "two headers, a stranger last", from: proxy, lines: xff(partner, attacker), want: refused},
		{name: "two headers, a proxy last", from: proxy, lines: xff(partner, proxy2), want: served},
		{name: "three headers", from: proxy, lines: xff(partner, attacker+", "+proxy2, proxy), want: refused},
		{name: "three headers, one empty", from: proxy, lines: xff(partner, "", proxy), want: refused},
		{name: "nonsense in an earlier header", from: proxy, lines: xff("x:y", partner), want: served},
		{name: "nonsense in the last header", from: proxy, lines: xff(partner, "x:y"), want: refused},
		{name: "other headers between", from: proxy, lines: []string{xff(partner)[0], "X-Other: 1", xff(attacker)[0]}, want: refused},
	}
	for i := range calls {
		calls[i].server = "forwarded"
	}
	for value, want := range forwardedValues() {
		calls = append(calls, call{server: "forwarded", name: "value " + value, from: proxy, lines: xff(value), want: want})
	}
	for _, server := range []string{"forwarded6", "forwardedTLS"} {
		secure := server == "forwardedTLS"
		calls = append(calls,
			call{server: server, name: "direct friend", from: friend, tls: secure, want: served},
			call{server: server, name: "partner", from: proxy, tls: secure, lines: xff(partner), want: served},
			call{server: server, name: "stranger", from: proxy, tls: secure, lines: xff(partner + "," + attacker), want: refused},
			call{server: server, name: "claim", from: stranger, tls: secure, lines: xff(partner), want: refused},
			call{server: server, name: "no header", from: proxy, tls: secure, want: refused},
		)
	}
	return calls
}

// forwardedValues are what a proxy says, and whether it is a partner who calls.
func forwardedValues() map[string]verdict {
	return map[string]verdict{
		partner:                                  served,
		" \t" + partner + "\t ":                  served,
		friend:                                   served,
		partner6:                                 served,
		"2001:DB8:0:0:0:0:0:7":                   served,
		"::ffff:" + partner:                      served,
		"::ffff:cb00:7107":                       served,
		"0:0:0:0:0:ffff:cb00:7107":               served,
		attacker + ", " + partner:                served,
		"nonsense, " + partner:                   served,
		partner + ":443, " + partner:             served,
		", " + partner:                           served,
		partner + "," + proxy2:                   served,
		partner + " ,\t" + proxy2 + ", " + proxy: served,
		partner + ", ::ffff:" + proxy2:           served,
		partner + ", 2001:db8:ff::1":             served,
		partner + ", 2001:db8:ff::1, " + proxy:   served,

		attacker:                  refused,
		neighbor:                  refused, // on another source's list
		partner + ", " + attacker: refused,
		partner + ", " + attacker + ", " + proxy2: refused,
		partner + ", 2001:db8:fe::1":              refused, // no proxy
		"":                                        refused,
		",":                                       refused,
		partner + ",":                             refused,
		partner + ", ,":                           refused,
		partner + ",," + proxy2:                   refused,
		proxy2:                                    refused, // every hop is trusted
		proxy + ", " + proxy2:                     refused,
		"2001:db8:ff::7":                          refused,
		partner + ":443":                          refused,
		"[" + partner6 + "]":                      refused,
		"[" + partner6 + "]:443":                  refused,
		partner6 + "%eth0":                        refused,
		partner + "%eth0":                         refused,
		"::ffff:" + partner + "%1":                refused,
		"fe80::1%lo":                              refused,
		partner + ", " + proxy2 + ":80":           refused,
		partner + ", 2001:db8:ff::1%1":            refused,
		partner + ", unknown":                     refused,
		"unknown":                                 refused,
		"_hidden":                                 refused,
		"localhost":                               refused,
		"for=" + partner:                          refused,
		`"` + partner + `"`:                       refused,
		"'" + partner + "'":                       refused,
		partner + ";" + attacker:                  refused,
		partner + " " + attacker:                  refused,
		partner + "/32":                           refused,
		"203.0.113.007":                           refused,
		"0203.0.113.7":                            refused,
		"0xcb.0.113.7":                            refused,
		"3405803783":                              refused,
		"203.0.28935":                             refused,
		"203.0.113.7.":                            refused,
		"203.0.113.263":                           refused,
		"203.0.113.7\u00a0":                       refused,
		"２03.0.113.7":                             refused,
		"::" + partner:                            refused, // IPv4-compatible
		"64:ff9b::cb00:7107":                      refused, // NAT64
		"2002:cb00:7107::1":                       refused, // 6to4
		"::ffff:0:" + partner:                     refused, // translated
		"0.0.0.0":                                 refused,
		"::":                                      refused,
		"::1":                                     refused,
		"127.0.0.1":                               refused,
		"127.0.1":                                 refused,
		"255.255.255.255":                         refused,
	}
}
