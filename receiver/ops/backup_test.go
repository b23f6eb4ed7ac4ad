package ops_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
)

func TestBackupIsForOperatorsAndSaysWhyThereIsNone(t *testing.T) {
	var asked []string
	var fails error
	p := open(t, func(c *ops.Config) {
		c.Tokens = []ops.Token{
			{Name: "eve", Role: ops.RoleViewer, Token: "view"},
			{Name: "alice", Role: ops.RoleOperator, Token: "operate"},
		}
		c.Backup = func(_ context.Context, actor, dir string) error {
			asked = append(asked, actor+" "+dir)
			return fails
		}
	})
	backup := func(token, dir string) heard {
		return p.do(t, http.MethodPost, "/api/v1/backup?dir="+url.QueryEscape(dir), bearer(token))
	}
	wantProblem(t, p.do(t, http.MethodPost, "/api/v1/backup?dir=/b", nil), http.StatusUnauthorized)
	wantProblem(t, backup("view", "/b"), http.StatusForbidden)
	for _, dir := range []string{"", "b", "./b", "/a/../b", "/b/"} {
		wantProblem(t, backup("operate", dir), http.StatusBadRequest)
	}
	if h := backup("operate", "/b"); h.status != http.StatusOK || h.body != `{"dir":"/b"}`+"\n" {
		t.Errorf("%d %s", h.status, h.body)
	}
	fails = fmt.Errorf("backup: %w", ops.ErrBusy)
	wantProblem(t, backup("operate", "/b"), http.StatusConflict)
	fails = errors.New("no room")
	wantProblem(t, backup("operate", "/b"), http.StatusUnprocessableEntity)
	if diff := cmp.Diff([]string{"alice /b", "alice /b", "alice /b"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
