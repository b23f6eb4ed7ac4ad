package ops

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/labstack/echo/v4"
)

// Role is what the owner of a token may do.
type Role string

// The roles. Each may read; RoleOperator may change and RoleUnseal may see
// sealed payloads, and neither may do what only the other may: who needs both
// has the same token twice, or two.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleUnseal   Role = "unseal"
)

// Token lets its owner do what its role may.
type Token struct {
	Name  string
	Role  Role
	Token string
}

// credential is a token as it is compared: digests have one length, and say
// nothing of the token.
type credential struct {
	name   string
	role   Role
	digest [sha256.Size]byte
}

// localName is the name of the token that always works.
const localName = "ops.token"

func credentials(tokens []Token, local string) ([]credential, error) {
	if local != "" {
		tokens = append([]Token{
			{Name: localName, Role: RoleOperator, Token: local},
			{Name: localName, Role: RoleUnseal, Token: local},
		}, tokens...)
	}
	list := make([]credential, 0, len(tokens))
	for _, t := range tokens {
		switch t.Role {
		case RoleViewer, RoleOperator, RoleUnseal:
		default:
			return nil, fmt.Errorf("token %s: role must be viewer, operator or unseal", t.Name)
		}
		if t.Token == "" {
			return nil, fmt.Errorf("token %s is empty", t.Name)
		}
		list = append(list, credential{t.Name, t.Role, sha256.Sum256([]byte(t.Token))})
	}
	return list, nil
}

// UpdateTokens replaces who may do what, at once, for every request that begins
// afterwards. It fails as [New] does, and then all tokens are as before. It is
// safe to call at any time, and to repeat.
func (s *Server) UpdateTokens(tokens []Token, local string) error {
	if !s.loopback && len(tokens) == 0 {
		return errors.New("ops listens off loopback: ops.tokens are required")
	}
	list, err := credentials(tokens, local)
	if err != nil {
		return err
	}
	s.tokens.Store(&list)
	return nil
}

// roles returns what the owner of token may do, and by which name. It compares
// with every token there is, in constant time, so that the time it takes says
// nothing.
func (s *Server) roles(token string) map[Role]string {
	digest := sha256.Sum256([]byte(token))
	roles := map[Role]string{}
	for _, c := range *s.tokens.Load() {
		if subtle.ConstantTimeCompare(digest[:], c.digest[:]) == 1 {
			roles[c.role] = c.name
			roles[RoleViewer] = c.name
		}
	}
	return roles
}

// actorKey is where a request keeps the name of the token that let it pass.
const actorKey = "actor"

// actor returns the name of the token that let a request pass; "" if it needed
// none.
func actor(c echo.Context) string {
	name, _ := c.Get(actorKey).(string)
	return name
}

// Require returns a middleware that lets pass who may act as role: 401 without
// a valid token, 403 with one of another role. On loopback, and only there,
// who only reads needs no token to be a viewer.
func (s *Server) Require(role Role) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			given := c.Request().Header.Values(echo.HeaderAuthorization)
			if len(given) == 0 && s.loopback && role == RoleViewer && reads(c.Request().Method) {
				return next(c)
			}
			token, ok := bearer(given)
			if !ok {
				return unauthorized(c)
			}
			roles := s.roles(token)
			if len(roles) == 0 {
				return unauthorized(c)
			}
			name, ok := roles[role]
			if !ok {
				return echo.NewHTTPError(http.StatusForbidden, "needs a token with the role "+string(role))
			}
			c.Set(actorKey, name)
			return next(c)
		}
	}
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// bearer returns the token of exactly one Authorization header (RFC 6750,
// section 2.1).
func bearer(given []string) (string, bool) {
	if len(given) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(given[0], " ")
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

func unauthorized(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="postern"`)
	return echo.NewHTTPError(http.StatusUnauthorized, "needs a valid token")
}

// LocalToken reads the operator's token from path, and makes both when the
// file doesn't exist yet: 32 random bytes, for its owner's eyes only. It fails
// if somebody else may read it. It may be called again, and by two at once.
func LocalToken(path string) (string, error) {
	token, err := readToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if err := makeToken(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return readToken(path)
}

func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s: others may use it; run chmod 600 on it, or delete it to get a new one", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("%s is empty; delete it to get a new one", path)
	}
	return token, nil
}

// makeToken writes a whole file and gives it its name at last, so that nobody
// ever reads half a token. It fails with fs.ErrExist if somebody was faster.
func makeToken(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".token-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	_, err = f.WriteString(base64.RawURLEncoding.EncodeToString(random) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
