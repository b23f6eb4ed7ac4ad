package ops_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed75441868/postern/receiver/ops"
)

func TestOffLoopbackNeedsTLSAndTokens(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	tokens := []ops.Token{{Name: "alice", Role: ops.RoleViewer, Token: "a"}}
	for name, cfg := range map[string]ops.Config{
		"neither":              {LocalToken: "local"},
		"no tokens":            {LocalToken: "local", TLS: someTLS(t)},
		"no tls":               {LocalToken: "local", Tokens: tokens},
		"a role of fantasy":    {TLS: someTLS(t), Tokens: []ops.Token{{Name: "alice", Role: "king", Token: "a"}}},
		"an empty token":       {TLS: someTLS(t), Tokens: []ops.Token{{Name: "alice", Role: ops.RoleViewer}}},
		"one of them is empty": {TLS: someTLS(t), Tokens: append([]ops.Token{{Name: "bob", Role: ops.RoleViewer}}, tokens...)},
	} {
		if _, err := ops.New(l, cfg); err == nil {
			t.Errorf("%s: started", name)
		}
	}
	if _, err := ops.New(l, ops.Config{TLS: someTLS(t), Tokens: tokens}); err != nil {
		t.Errorf("with both: %v", err)
	}
}

// roles starts a server with a token of each role and a route for each.
func roles(t *testing.T, addr string) *panel {
	t.Helper()
	return openOn(t, addr, func(c *ops.Config) {
		c.TLS = someTLS(t)
		c.Tokens = []ops.Token{
			{Name: "v", Role: ops.RoleViewer, Token: "view"},
			{Name: "o", Role: ops.RoleOperator, Token: "operate"},
			{Name: "u", Role: ops.RoleUnseal, Token: "unseal"},
			{Name: "b1", Role: ops.RoleOperator, Token: "both"},
			{Name: "b2", Role: ops.RoleUnseal, Token: "both"},
		}
	}, func(s *ops.Server) {
		s.Handle(http.MethodPost, "/change", ops.RoleOperator)
		s.Handle(http.MethodGet, "/sealed", ops.RoleUnseal)
		s.Handle(http.MethodGet, "/seen", ops.RoleViewer)
		s.Handle(http.MethodPost, "/seen", ops.RoleViewer)
	})
}

func TestRolesAndTokens(t *testing.T) {
	everywhere := map[string]int{ // token, method and path
		"view POST /change": 403, "view GET /sealed": 403, "view GET /seen": 200,
		"operate POST /change": 200, "operate GET /sealed": 403, "operate GET /seen": 200,
		"unseal POST /change": 403, "unseal GET /sealed": 200, "unseal GET /seen": 200,
		"both POST /change": 200, "both GET /sealed": 200, "both GET /seen": 200,
		"local-token POST /change": 200, "local-token GET /sealed": 200,
		"wrong POST /change": 401, "wrong GET /sealed": 401, "wrong GET /seen": 401,
		"none POST /change": 401, "none GET /sealed": 401, "none POST /seen": 401,
		"none GET /livez": 200, "none GET /readyz": 200, "none GET /metrics": 200,
	}
	for addr, more := range map[string]map[string]int{
		"127.0.0.1:0": {"none GET /seen": 200, "none GET /schemas/": 200, "none GET /api/v1/version": 200, "none GET /api/v1/tail": 200},
		"0.0.0.0:0":   {"none GET /seen": 401, "none GET /schemas/": 401, "none GET /api/v1/version": 401, "none GET /api/v1/tail": 401},
	} {
		t.Run(addr, func(t *testing.T) {
			p := roles(t, addr)
			for _, cases := range []map[string]int{everywhere, more} {
				for what, want := range cases {
					f := strings.Fields(what)
					h := p.do(t, f[1], f[2], func(r *http.Request) {
						if f[0] != "none" {
							bearer(f[0])(r)
						}
					})
					if h.status != want {
						t.Errorf("%s: %d, want %d", what, h.status, want)
					}
					if want > 400 {
						wantProblem(t, h, want)
					}
					if want == 401 && h.header.Get("WWW-Authenticate") == "" {
						t.Errorf("%s: no WWW-Authenticate", what)
					}
				}
			}
		})
	}
}

func TestOddCredentialsAreNone(t *testing.T) {
	p := open(t, func(c *ops.Config) {
		c.Tokens = []ops.Token{{Name: "v", Role: ops.RoleViewer, Token: "view"}}
	})
	for _, given := range [][]string{
		{"view"}, {"Bearer"}, {"Bearer "}, {"Bearer  view"}, {"Basic view"}, {"Bearer view "}, {"Bearer vie"}, {"Bearer viewview"}, {"Bearer view", "Bearer view"}, {""},
	} {
		h := p.do(t, http.MethodGet, "/api/v1/version", func(r *http.Request) { r.Header["Authorization"] = given })
		// The wire strips what is around a value, so a blank behind is none.
		want := http.StatusUnauthorized
		if given[0] == "Bearer view " {
			want = http.StatusOK
		}
		if h.status != want {
			t.Errorf("%q: %d, want %d", given, h.status, want)
		}
	}
	if h := p.do(t, http.MethodGet, "/api/v1/version", func(r *http.Request) { r.Header.Set("Authorization", "bearer view") }); h.status != http.StatusOK {
		t.Errorf("the scheme in lower case: %d", h.status)
	}
}

func TestPagesOfABrowserOnThisMachineAreKeptOut(t *testing.T) {
	p := openOn(t, "127.0.0.1:0", nil, func(s *ops.Server) { s.Handle(http.MethodPost, "/change", ops.RoleOperator) })
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:8081": 200, "127.0.0.1": 200, "127.0.0.1:99": 200, "127.9.9.9": 200, "[::1]": 200, "[::1]:8081": 200,
		"evil.example": 403, "evil.example:8081": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
		"192.0.2.1": 403, "0.0.0.0:8081": 403, "evil@localhost:1:2": 403,
	} {
		for _, path := range []string{"/api/v1/version", "/metrics", "/readyz"} {
			h := p.do(t, http.MethodGet, path, func(r *http.Request) { r.Host = host })
			if h.status != want {
				t.Errorf("%s of %s: %d, want %d", path, host, h.status, want)
			}
		}
	}
	change := func(name, value string) int {
		return p.do(t, http.MethodPost, "/change", func(r *http.Request) {
			bearer("local-token")(r)
			if name != "" {
				r.Header.Set(name, value)
			}
		}).status
	}
	if got := change("", ""); got != http.StatusOK {
		t.Errorf("without a browser: %d", got)
	}
	if got := change("Origin", "https://evil.example"); got != http.StatusForbidden {
		t.Errorf("from another origin: %d", got)
	}
	if got := change("Sec-Fetch-Site", "cross-site"); got != http.StatusForbidden {
		t.Errorf("from another site: %d", got)
	}
	if got := change("Sec-Fetch-Site", "same-origin"); got != http.StatusOK {
		t.Errorf("from the same site: %d", got)
	}
}

func TestLocalTokenIsMadeOnceForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ops.token")
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			token, err := ops.LocalToken(path)
			if err != nil {
				t.Error(err)
			}
			got[i] = token
		})
	}
	wg.Wait()
	for _, token := range got {
		if token != got[0] || len(token) != 43 {
			t.Errorf("tokens %q", got)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	other, err := ops.LocalToken(filepath.Join(t.TempDir(), "ops.token"))
	if err != nil || other == got[0] {
		t.Errorf("another start has the same token: %v", err)
	}
}

func TestLocalTokenThatIsNoSecretIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ops.token")
	if err := os.WriteFile(path, []byte("open to all\n"), 0o644); err != nil { //nolint:gosec // the point of the test
		t.Fatal(err)
	}
	if _, err := ops.LocalToken(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ops.LocalToken(path); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("empty: %v", err)
	}
	if err := os.WriteFile(path, []byte(" mine \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if token, err := ops.LocalToken(path); err != nil || token != "mine" {
		t.Errorf("%q, %v", token, err)
	}
}
