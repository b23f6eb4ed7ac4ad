package concedustest

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/shopspring/decimal"
	"golang.org/x/text/encoding/charmap"
)

// ServeHTTP answers as the API does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	var segments []string
	for segment := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		part, err := url.PathUnescape(segment)
		if err != nil {
			refuse(w, http.StatusBadRequest, "Invalid arguments to the API", "Path")
			return
		}
		segments = append(segments, part)
	}
	route := r.Method + " " + strings.Join(segments, "/")
	switch {
	case route == "POST v2/auth/token":
		s.serve(w, r, s.next(EndpointToken, 0), s.signIn)
	case route == "POST v2/auth/refresh":
		s.serve(w, r, s.next(EndpointRefresh, 0), s.renew)
	case route == "GET v2/auth/check":
		s.serve(w, r, s.next(EndpointCheck, 0), s.authorized(func(account) bool { return true }, s.check))
	case route == "GET v2/compliance/contracts/states/open":
		s.list(w, r, EndpointAgentList, "", func(a account) bool { return a.agent })
	case r.Method == http.MethodGet && len(segments) == 6 && segments[1] == "product-owners" && strings.Join(segments[3:], "/") == "contracts/states/open":
		owner := segments[2]
		s.list(w, r, EndpointIssuerList, owner, func(a account) bool { return a.owner == owner })
	case r.Method == http.MethodGet && len(segments) == 5 && strings.Join(segments[:4], "/") == "v2/compliance/status/contracts":
		s.serve(w, r, s.next(EndpointStatus, 0), s.authorized(func(a account) bool { return a.agent }, func(*http.Request) (int, []byte) {
			return s.status(segments[4])
		}))
	default:
		refuse(w, http.StatusNotFound, "Not found", "Item is not found")
	}
}

// serve answers a request, unless a fault does.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, f Fault, answer func(*http.Request) (int, []byte)) {
	if f.fails(w, r) {
		return
	}
	code, body := answer(r)
	if f.Kind == Truncated {
		body = body[:len(body)/2]
	}
	if s.Windows1252 && code == http.StatusOK {
		if b, err := charmap.Windows1252.NewEncoder().Bytes(body); err == nil {
			body = b
		}
	}
	write(w, code, body)
}

// authorized has a request answered whose token is good and whose account may
// ask.
func (s *Server) authorized(may func(account) bool, answer func(*http.Request) (int, []byte)) func(*http.Request) (int, []byte) {
	return func(r *http.Request) (int, []byte) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		known, ok := s.tokens[token]
		a := s.accounts[known.username]
		ok = ok && s.now().Before(known.ends)
		s.mu.Unlock()
		switch {
		case !ok:
			return http.StatusUnauthorized, []byte(`{"code":"401","info":"Unauthorized","reason":"Token is invalid or expired"}`)
		case !may(a):
			return http.StatusForbidden, []byte(`{"code":"403","info":"Forbidden","reason":"Not your product"}`)
		}
		return answer(r)
	}
}

func (s *Server) signIn(r *http.Request) (int, []byte) {
	body, _ := io.ReadAll(r.Body)
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if json.Unmarshal(body, &in, json.MatchCaseInsensitiveNames(true)) != nil {
		return http.StatusBadRequest, []byte(`{"code":"400","info":"Invalid arguments to the API","reason":"Body"}`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.accounts[in.Username]; !ok || a.password != in.Password {
		return http.StatusUnauthorized, []byte(`{"errorMessageCodes":["LOGIN_FAILED"]}`)
	}
	return s.granted(in.Username)
}

func (s *Server) renew(r *http.Request) (int, []byte) {
	body, _ := io.ReadAll(r.Body)
	var in struct {
		RefreshToken string `json:"refreshToken"`
	}
	if json.Unmarshal(body, &in, json.MatchCaseInsensitiveNames(true)) != nil {
		return http.StatusBadRequest, []byte(`{"error":"Invalid request"}`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.refresh[in.RefreshToken]
	if !ok {
		return http.StatusBadRequest, []byte(`{"error":"Invalid request"}`)
	}
	delete(s.refresh, in.RefreshToken) // good for once
	return s.granted(known.username)
}

// granted is called with mu held.
func (s *Server) granted(username string) (int, []byte) {
	access, refresh, ends := s.token(username)
	return http.StatusOK, s.object(
		member{"accessToken", text(access)}, member{"exp", strconv.FormatInt(ends.Unix(), 10)}, member{"refreshToken", text(refresh)},
	)
}

func (s *Server) check(r *http.Request) (int, []byte) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.StatusOK, s.object(member{"exp", strconv.FormatInt(s.tokens[token].ends.Unix(), 10)})
}

func (s *Server) status(key string) (int, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[key] = append(s.asked[key], s.now())
	st, ok := s.statuses[key]
	if !ok {
		return http.StatusNotFound, []byte(`{"code":"404","info":"Not found","reason":"Compliance key not found or Compliance record not created"}`)
	}
	members := []member{
		{"status", strconv.Itoa(st.code)},
		{"key", text("Concedus+Q" + strconv.Itoa(len(key)) + "+14")},
		{"modified", text(st.modified)},
		{"contractKey", text(key)},
	}
	if st.notes != "" {
		members = append(members, member{"notes", text(st.notes)})
	}
	return http.StatusOK, s.object(members...)
}

// list answers with a page of an owner's list, or the agent's for "".
func (s *Server) list(w http.ResponseWriter, r *http.Request, endpoint, owner string, may func(account) bool) {
	page := number(r.URL.Query().Get("page"), 1)
	f := s.next(endpoint, page)
	s.serve(w, r, f, s.authorized(may, func(r *http.Request) (int, []byte) {
		s.mu.Lock()
		items, turned := s.sorted(owner), s.turned
		s.mu.Unlock()
		if f.Kind == Vanish {
			items = nil
		}
		body := s.page(items, page, number(r.URL.Query().Get("pageSize"), 25), f.Kind == PageShift, owner == "")
		if turned != nil {
			turned(endpoint, page)
		}
		return http.StatusOK, body
	}))
}

func (s *Server) page(items []*item, page, size int, shift, agent bool) []byte {
	if s.PageSize > 0 {
		size = min(size, s.PageSize)
	}
	from := min((page-1)*size, len(items))
	to := min(from+size, len(items))
	if shift && from < to {
		from++
	}
	shown := items[from:to]
	summed := items
	if s.SumsPerPage {
		summed = shown
	}
	share, agio := decimal.Zero, decimal.Zero
	for _, it := range summed {
		share, agio = share.Add(value(it.Share)), agio.Add(value(it.Agio))
	}
	contracts := make([]string, 0, len(shown))
	for _, it := range shown {
		contracts = append(contracts, string(s.contract(it, agent)))
	}
	summary := s.object(
		member{"itemsCount", strconv.Itoa(len(summed))}, member{"pageNo", strconv.Itoa(page)}, member{"pageSize", strconv.Itoa(size)},
		member{"sumAgio", agio.String()}, member{"sumShare", share.String()},
	)
	return s.object(member{"summary", string(summary)}, member{"contracts", "[" + strings.Join(contracts, ",") + "]"})
}

func (s *Server) contract(it *item, agent bool) []byte {
	updated, kind := it.Updated, it.Type
	if updated == "" {
		updated = it.at.UTC().Format("2006-01-02T15:04:05.999Z")
	}
	if kind == "" {
		kind = "PV2"
		if !agent {
			kind = "PV3"
		}
	}
	members := []member{{"key", text(it.Key)}, {"updatedDate", text(updated)}}
	add := func(name, value string) {
		if value != "" {
			members = append(members, member{name, text(value)})
		}
	}
	if agent {
		add("signed", it.Signed)
	}
	add("type", kind)
	if !agent {
		add("created", it.Created)
	}
	add("product", it.Product)
	if !agent {
		add("investorName", it.InvestorName)
	}
	members = append(members, member{"share", orZero(it.Share)}, member{"agio", orZero(it.Agio)})
	for name, value := range it.More {
		members = append(members, member{name, value})
	}
	slices.SortStableFunc(members[len(members)-len(it.More):], func(a, b member) int { return strings.Compare(a.name, b.name) })
	return s.object(members...)
}

// member is a member of an object: a name and JSON.
type member struct{ name, value string }

func (s *Server) object(members ...member) []byte {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		name := m.name
		if s.PascalCase {
			name = strings.ToUpper(name[:1]) + name[1:]
		}
		b = append(append(append(b, text(name)...), ':'), m.value...)
	}
	return append(b, '}')
}

func text(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return `""`
	}
	return string(b)
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func value(s string) decimal.Decimal {
	d, err := decimal.NewFromString(strings.Trim(s, `"`))
	if err != nil {
		return decimal.Zero
	}
	return d
}

func number(s string, otherwise int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}
