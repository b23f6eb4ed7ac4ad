package tokenytest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Prefix is what the paths of all endpoints begin with.
const Prefix = "/servicing/api"

// The endpoints, as Count and faults name them.
const (
	SignIn     = "signin"
	Candidates = "candidates"
	Holders    = "holders"
)

// timeLayout is how the platform writes times.
const timeLayout = "2006-01-02T15:04:05.000Z"

// wireCandidate is a candidate as the platform lists it.
type wireCandidate struct {
	Email          string  `json:"email"`
	ID             string  `json:"id"`
	KYCProvider    *string `json:"kycProvider"`
	KYCStatus      string  `json:"kycStatus"`
	LastLogin      string  `json:"lastLogin"`
	CreatedAt      string  `json:"createdAt"`
	Name           string  `json:"name"`
	CurrentSection *string `json:"currentSection"`
	Status         string  `json:"status"`
	InvestorType   string  `json:"investorType"`
	Country        string  `json:"country"`
	Wallet         *string `json:"wallet"`
	WalletProvider *string `json:"walletProvider"`
}

// wireHolder is a holder. How the platform lists them is not documented.
type wireHolder struct {
	ID     string  `json:"id"`
	Email  string  `json:"email"`
	Wallet string  `json:"wallet"`
	Status *string `json:"status,omitempty"`
}

// wireList is a list. Behind its items nothing is documented.
type wireList struct {
	Items any     `json:"items"`
	Count *int    `json:"count,omitempty"`
	Next  *string `json:"next,omitempty"`
}

// wireError is the body of an error.
type wireError struct {
	StatusCode int           `json:"statusCode"`
	Timestamp  string        `json:"timestamp"`
	Path       string        `json:"path"`
	Errors     []wireProblem `json:"errors"`
	Message    string        `json:"message"`
	Name       string        `json:"name"`
}

type wireProblem struct {
	Email  string `json:"email"`
	Result string `json:"result"`
}

// ServeHTTP serves the API.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, Prefix)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == r.URL.Path:
		p.refuse(w, r, http.StatusNotFound, "NOT_FOUND", "")
	case path == "/auth/signin" && r.Method == http.MethodPost:
		p.serve(w, r, SignIn, func() (int, any) { return p.signIn(r) })
	case len(parts) == 3 && parts[0] == "tokens" && parts[2] == Candidates && r.Method == http.MethodGet:
		p.serve(w, r, Candidates, func() (int, any) { return p.list(r, parts[1], Candidates) })
	case len(parts) == 3 && parts[0] == "tokens" && parts[2] == Holders && r.Method == http.MethodGet:
		p.serve(w, r, Holders, func() (int, any) { return p.list(r, parts[1], Holders) })
	default:
		p.refuse(w, r, http.StatusNotFound, "NOT_FOUND", "")
	}
}

// serve answers, unless there is a fault to make.
func (p *Platform) serve(w http.ResponseWriter, r *http.Request, endpoint string, answer func() (int, any)) {
	p.mu.Lock()
	p.counts[endpoint]++
	fault, faulty := p.fault(endpoint)
	p.mu.Unlock()
	if faulty && fault.before(p, w, r) {
		return
	}
	code, body := answer()
	if code != http.StatusOK {
		p.refuse(w, r, code, http.StatusText(code), p.email)
		return
	}
	b, err := json.Marshal(body, json.Deterministic(true))
	if err != nil {
		p.refuse(w, r, http.StatusInternalServerError, "ERROR", "")
		return
	}
	if faulty {
		b = fault.spoil(b)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}

// refuse answers an error. Its body names a mail address, as those of the
// platform do.
func (p *Platform) refuse(w http.ResponseWriter, r *http.Request, code int, name, email string) {
	e := wireError{
		StatusCode: code, Timestamp: p.now().UTC().Format(timeLayout),
		Path:    strings.TrimPrefix(r.URL.Path, "/servicing"), // the gateway hides this from those behind it
		Message: http.StatusText(code), Name: name, Errors: []wireProblem{},
	}
	if email != "" {
		e.Errors = append(e.Errors, wireProblem{Email: email, Result: "Error: " + e.Message + "."})
	}
	b, err := json.Marshal(e, json.Deterministic(true))
	if err != nil {
		b = nil
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b)
}

// signIn gives a token for an hour, and locks the account after some wrong
// passwords in a row.
func (p *Platform) signIn(r *http.Request) (int, any) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	var said struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	if err != nil || json.Unmarshal(body, &said) != nil || said.Email == "" || said.Password == "" {
		return http.StatusBadRequest, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.locked || said.Email != p.email || said.Password != p.password {
		if p.wrong++; p.wrong >= lockAfter {
			p.locked = true
		}
		return http.StatusUnauthorized, nil
	}
	p.wrong = 0
	now := p.now()
	jwt := p.jwt(now)
	p.sessions[jwt] = now.Add(Life)
	return http.StatusOK, map[string]string{"token": jwt}
}

// jwt makes a token. mu is held.
func (p *Platform) jwt(now time.Time) string {
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		part(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, p.uuid(), now.Unix(), now.Add(Life).Unix()))
	mac := hmac.New(sha256.New, []byte(p.email))
	mac.Write([]byte(text))
	return text + "." + part(mac.Sum(nil))
}

// list lists who wants or has a token.
func (p *Platform) list(r *http.Request, tokenID, which string) (int, any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if ends, ok := p.sessions[bearer]; !ok || !p.now().Before(ends) {
		return http.StatusUnauthorized, nil
	}
	t := p.tokens[tokenID]
	if t == nil {
		return http.StatusForbidden, nil // an agent of other tokens
	}
	p.lists++
	if which == Holders {
		return http.StatusOK, page(p, r.URL, t.holders, wireHolderOf)
	}
	lower := p.lists%2 == 0
	return http.StatusOK, page(p, r.URL, t.candidates, func(i *Investor) wireCandidate { return wireCandidateOf(i, lower) })
}

// page returns the part of a list that a URL asks for. mu is held.
func page[T any](p *Platform, at *url.URL, all []*Investor, wire func(*Investor) T) wireList {
	var l wireList
	offset, err := strconv.Atoi(at.Query().Get("offset"))
	if err != nil || offset < 0 || offset > len(all) {
		offset = 0
	}
	end := len(all)
	if p.pageSize > 0 {
		total := len(all)
		l.Count = &total
		if end = min(len(all), offset+p.pageSize); end < len(all) {
			next := strings.TrimPrefix(at.Path, "/servicing") + "?offset=" + strconv.Itoa(end)
			l.Next = &next
		}
	}
	items := []T{}
	for _, i := range all[offset:end] {
		items = append(items, wire(i))
	}
	l.Items = items
	return l
}

// wireCandidateOf writes wallets in mixed or in lower case: the platform does
// one here and the other there.
func wireCandidateOf(i *Investor, lower bool) wireCandidate {
	wallet := i.Wallet
	if lower {
		wallet = strings.ToLower(wallet)
	}
	return wireCandidate{
		Email: i.Email, ID: i.ID, KYCProvider: optional(i.KYCProvider), KYCStatus: i.KYCStatus,
		LastLogin: i.login.UTC().Format(timeLayout), CreatedAt: i.created.UTC().Format(timeLayout),
		Name: i.Name, CurrentSection: optional(i.Section), Status: i.Status, InvestorType: i.Type,
		Country: i.Country, Wallet: optional(wallet), WalletProvider: optional(i.WalletProvider),
	}
}

func wireHolderOf(i *Investor) wireHolder {
	return wireHolder{ID: i.ID, Email: i.Email, Wallet: strings.ToLower(i.Wallet), Status: i.holderStatus}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
