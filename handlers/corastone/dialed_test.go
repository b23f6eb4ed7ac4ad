package corastone_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed75441868/postern/handlers"
)

// TestNobodyElseIsDialed: whatever a push says of its certificate, on the way out
// nobody is dialed but the host of its topic's region, and not even that one for
// a URL that could not be its.
func TestNobodyElseIsDialed(t *testing.T) {
	var mu sync.Mutex
	var dialed []string
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialed = append(dialed, address)
			return nil, errors.New("no way out")
		},
	}}
	sns := newSNS(t)
	s := sns.settings(t)
	s.Push.Regions = append(s.Push.Regions, "us-east-1", "cn-north-1")
	webhook := openWith(t, s, handlers.Means{Fetch: func(ctx context.Context, url string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		res, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		return nil, res.Body.Close()
	}})
	e := sns.sign(t, notification(`{"error":{"errorId":"a"}}`))
	right := e.SigningCertURL
	there := strings.TrimPrefix(right, frankfurt)
	for _, url := range badURLs {
		for _, at := range []string{url, strings.ReplaceAll(url, file, there)} {
			e.SigningCertURL = at
			if _, err := webhook.Authenticate(request(e)); err == nil {
				t.Errorf("%q: accepted", at)
			}
		}
	}
	if len(dialed) != 0 {
		t.Errorf("dialed %q", dialed)
	}
	e.SigningCertURL = right
	_, err := webhook.Authenticate(request(e))
	if uncheckable := (*handlers.UncheckableError)(nil); !errors.As(err, &uncheckable) {
		t.Errorf("with nobody there: %v", err)
	}
	if !slices.Equal(dialed, []string{"sns.eu-central-1.amazonaws.com:443"}) {
		t.Errorf("for the right one it dialed %q", dialed)
	}
}
