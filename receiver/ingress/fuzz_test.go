package ingress

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// FuzzForwardedFor compares the walk with what it promises: the caller is the
// rightmost hop that is not trusted, and nothing left of it matters.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range [][3]string{
		{"127.0.1.1", "203.0.113.7", ""},
		{"127.0.1.1", "198.51.100.66, 203.0.113.7", "127.0.1.2"},
		{"127.0.0.9", "203.0.113.7", "x"},
		{"127.0.1.1", "203.0.113.7:443", "127.0.1.2, ::ffff:127.0.1.3"},
		{"2001:db8:ff::1", "2001:db8::7%eth0,\t2001:db8:ff::2 ", ","},
		{"::1", "", ""},
		{"", "203.0.113.7", ""},
		{"127.0.1.1", "127.0.1.3", "127.0.1.2"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24"), netip.MustParsePrefix("2001:db8:ff::/48")}
	isTrusted := func(a netip.Addr) bool { return trusted[0].Contains(a) || trusted[1].Contains(a) }
	f.Fuzz(func(t *testing.T, from, first, second string) {
		peer, _ := netip.ParseAddr(from)
		headers := []string{first, second}
		got := forwardedFor(peer, headers, trusted)

		want := peer
		if isTrusted(peer) {
			want = netip.Addr{}
			for _, hop := range slices.Backward(strings.Split(strings.Join(headers, ","), ",")) {
				addr, err := netip.ParseAddr(strings.Trim(hop, " \t"))
				if err != nil || addr.Zone() != "" {
					break
				}
				if addr = addr.Unmap(); !isTrusted(addr) {
					want = addr
					break
				}
			}
		}
		if got != want {
			t.Errorf("%s through %q is %s, want %s", peer, headers, got, want)
		}
		if got.IsValid() && isTrusted(got) {
			t.Errorf("%s is a trusted proxy and no caller", got)
		}
		// Who calls can't be moved by what the caller itself sent.
		if !got.IsValid() {
			return
		}
		for _, lie := range []string{"192.0.2.99", "127.0.1.9", "x", ""} {
			for _, lying := range [][]string{{lie, first, second}, {lie + "," + first, second}} {
				if moved := forwardedFor(peer, lying, trusted); moved != got {
					t.Errorf("%s through %q is %s, without the lie %s", peer, lying, moved, got)
				}
			}
		}
	})
}
