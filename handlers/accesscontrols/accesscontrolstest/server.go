package accesscontrolstest

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

const (
	root  = "/book-building/accesscontrols"
	deals = "/book-building/deals/v1/deals"
	// TokenPath is where the identity server gives tokens.
	TokenPath = "/connect/token"
)

// call is a request to an endpoint.
type call struct {
	r        *http.Request
	endpoint string
	scope    string
	id       string // what the path names
	full     bool   // it is an admin's
	ids      []string
	fault    Fault
}

// ServeHTTP implements [http.Handler]: the identity server and the API.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := route(r)
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	p.mu.Lock()
	bare := p.bare
	if ok {
		p.counts[c.endpoint]++
		c.fault = p.fault(c.endpoint)
	}
	p.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, bare)
		return
	}
	if c.fault.instead(w, r, bare) {
		return
	}
	p.mu.Lock()
	if c.fault.Kind == Lapse {
		clear(p.tokens)
	}
	answer, code := p.answer(c, body)
	var text []byte
	if code == http.StatusOK {
		text, err = json.Marshal(answer, json.Deterministic(!p.turned))
	}
	p.mu.Unlock()
	switch {
	case err != nil:
		refuse(w, http.StatusInternalServerError, bare)
	case c.endpoint == Token && code == http.StatusBadRequest:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		text, _ = json.Marshal(answer)
		_, _ = w.Write(text)
	case code != http.StatusOK:
		refuse(w, code, bare)
	default:
		c.fault.write(w, text)
	}
}

// route finds the endpoint of a request.
func route(r *http.Request) (c call, ok bool) {
	c.r = r
	path, inside := strings.CutPrefix(r.URL.Path, root)
	many := r.Method == http.MethodPost
	within := func(prefix, suffix string) bool {
		rest, ok := strings.CutPrefix(path, prefix)
		rest, end := strings.CutSuffix(rest, suffix)
		if !ok || !end || strings.Contains(rest, "/") || rest == "" || r.Method != http.MethodGet {
			return false
		}
		c.id = rest
		return true
	}
	is := func(endpoint, scope string, full bool) (call, bool) {
		c.endpoint, c.scope, c.full = endpoint, scope, full
		return c, true
	}
	const read, admin = "accesscontrol-read", "accesscontrol-admin"
	switch {
	case r.URL.Path == TokenPath && many:
		return is(Token, "", false)
	case r.URL.Path == deals && r.Method == http.MethodGet:
		return is(Deals, "deals-read", false)
	case !inside:
		return c, false
	case path == "/v1/fixedincome/tranche/accesscontrols" && many:
		return is(ManyV1, read, false)
	case within("/v1/fixedincome/tranche/", "/accesscontrols"):
		return is(OneV1, read, false)
	case path == "/v2/tranches" && many:
		return is(ManyV2, read, false)
	case path == "/v2/admin/tranches" && many:
		return is(ManyV2, admin, true)
	case within("/v2/tranches/", ""):
		return is(OneV2, read, false)
	case within("/v2/admin/tranches/", ""):
		return is(OneV2, admin, true)
	case path == "/v2/deals" && many:
		return is(ManyDeals, read, false)
	case path == "/v2/admin/deals" && many:
		return is(ManyDeals, admin, true)
	case within("/v2/deals/", ""):
		return is(OneDeal, read, false)
	case within("/v2/admin/deals/", ""):
		return is(OneDeal, admin, true)
	case path == "/v1/tranches/firm-grants/search" && many:
		return is(Search, read, false)
	case within("/v1/tranches/", "/firm-grants"):
		return is(OneGrants, read, false)
	case within("/v1/admin/tranches/", "/firm-grants"):
		return is(AdminGrants, "accesscontrol-admin-read", true)
	}
	return c, false
}

// answer answers a call. mu is held.
func (p *Platform) answer(c call, body []byte) (any, int) {
	if c.endpoint == Token {
		return p.sign(body)
	}
	bearer, _ := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	t, ok := p.tokens[bearer]
	switch {
	case !ok || !p.options.Now().Before(t.ends):
		return nil, http.StatusUnauthorized
	case !slices.Contains(t.scopes, c.scope):
		return nil, http.StatusForbidden
	}
	switch c.endpoint {
	case Deals:
		return p.list(c)
	case Search:
		return p.search(c, body)
	case ManyV1, ManyV2, ManyDeals:
		if c.ids, ok = p.idsOf(c, body); !ok {
			return nil, http.StatusBadRequest
		}
		all := []any{}
		for _, id := range c.ids {
			if document, code := p.one(c, id); code == http.StatusOK {
				all = append(all, document)
			}
		}
		if p.turned {
			slices.Reverse(all)
		}
		return all, http.StatusOK
	}
	return p.one(c, c.id)
}

// sign gives a token. mu is held.
func (p *Platform) sign(body []byte) (any, int) {
	form, err := url.ParseQuery(string(body))
	refused := func(why string) (any, int) { return map[string]any{"error": why}, http.StatusBadRequest }
	if err != nil || form.Get("grant_type") != "client_credentials" {
		return refused("unsupported_grant_type")
	}
	if form.Get("client_id") != p.options.ClientID || form.Get("client_secret") != p.options.ClientSecret {
		return refused("invalid_client")
	}
	scopes := strings.Fields(form.Get("scope"))
	if len(scopes) == 0 {
		scopes = p.options.Scopes
	}
	may := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(p.options.Scopes, s) })
	if len(may) < len(scopes) && !p.reduces {
		return refused("invalid_scope")
	}
	scopes = may
	now := p.options.Now()
	claims, err := json.Marshal(map[string]any{
		"nbf": now.Unix(), "exp": now.Add(Life).Unix(), "client_id": p.options.ClientID, "firm_id": p.options.Firm,
		"scope": scopes, "jti": p.uuid(),
	}, json.Deterministic(true))
	if err != nil {
		return nil, http.StatusInternalServerError
	}
	encode := base64.RawURLEncoding.EncodeToString
	jwt := encode([]byte(`{"alg":"RS256"}`)) + "." + encode(claims) + "." + encode([]byte(p.uuid()))
	p.tokens[jwt] = token{scopes: scopes, ends: now.Add(Life)}
	return map[string]any{"access_token": jwt, "expires_in": int(Life.Seconds()), "token_type": "Bearer"}, http.StatusOK
}

// list answers a page of deals. mu is held.
func (p *Platform) list(c call) (any, int) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(c.r.URL.Query().Get(name)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	page, size := number("page", 1), min(number("pageSize", 250), 250)
	if c.fault.Kind == Shift && page > 1 {
		page--
	}
	var listed []any
	for _, d := range p.deals {
		if d.unlisted {
			continue
		}
		tranches := []any{}
		for _, id := range d.tranches {
			tranches = append(tranches, map[string]any{"id": id, "productIds": []any{}})
		}
		listed = append(listed, map[string]any{
			"id": d.id, "tranches": tranches, "products": []any{}, "series": []any{map[string]any{"trancheIds": d.tranches}},
		})
	}
	from := min((page-1)*size, len(listed))
	return append([]any{}, listed[from:min(from+size, len(listed))]...), http.StatusOK
}

// idsOf reads the ids of a read of many. mu is held.
func (p *Platform) idsOf(c call, body []byte) ([]string, bool) {
	var ids []string
	if p.wrapped {
		var object map[string][]string
		if json.Unmarshal(body, &object) != nil {
			return nil, false
		}
		name := "trancheIds"
		if c.endpoint == ManyDeals {
			name = "dealIds"
		}
		ids = object[name]
	} else if json.Unmarshal(body, &ids) != nil {
		return nil, false
	}
	p.most = max(p.most, len(ids))
	return ids, true
}

// one answers what there is of a tranche or a deal. mu is held.
func (p *Platform) one(c call, id string) (any, int) {
	for _, d := range p.deals {
		if d.id == id && (c.endpoint == OneDeal || c.endpoint == ManyDeals) {
			if d.forbidden {
				return nil, http.StatusForbidden
			}
			return p.v2("dealId", d.id, d.v2, c.full, nil), http.StatusOK
		}
	}
	t := p.tranches[id]
	if t == nil {
		return nil, http.StatusNotFound
	}
	kind := map[string]string{
		OneV1: "v1", ManyV1: "v1", OneV2: "v2", ManyV2: "v2", OneGrants: "grants", Search: "grants", AdminGrants: "admin",
	}[c.endpoint]
	switch {
	case t.forbidden[kind]:
		return nil, http.StatusForbidden
	case t.forbidden["gone "+kind], kind == "":
		return nil, http.StatusNotFound
	}
	switch kind {
	case "v1":
		return p.v1(t), http.StatusOK
	case "v2":
		return p.trancheV2(t, c.full), http.StatusOK
	}
	return p.grants(c, t), http.StatusOK
}

// grants answers the grants of a tranche. mu is held.
func (p *Platform) grants(c call, t *tranche) any {
	firm := p.options.Firm
	if strings.EqualFold(c.r.Header.Get("X-Access-Type"), "shared") && !p.noIssuer {
		firm = SharedFirm
	}
	list := []any{}
	evaluated := map[string]any{}
	for _, name := range []string{
		"isIndicationView", "isIndicationUpdate", "isAllocationView", "isTrancheView", "isAllocationUpdate",
		"isHedgesView", "isHedgesUpdate", "isTermsView", "isTermsUpdate",
	} {
		evaluated[name] = false
	}
	for i, g := range t.grants {
		by := any(g.ByFirmID)
		if n, err := strconv.Atoi(g.ByFirmID); err == nil && i%2 == 1 {
			by = n // ids of firms are written both ways
		}
		list = append(list, map[string]any{"byFirmId": by, "toFirmId": g.ToFirmID, "accessType": g.AccessType})
		entity, action, _ := strings.Cut(g.AccessType, ".")
		if entity != "" && action != "" {
			evaluated["is"+upper(entity)+upper(action)] = true
		}
	}
	if p.turned {
		slices.Reverse(list)
	}
	data := map[string]any{"trancheId": t.id, "firmId": firm, "grants": list}
	if c.full {
		return data
	}
	if c.r.URL.Query().Get("includeSupportingData") == "true" {
		evaluated["supportingData"] = data
	}
	return evaluated
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// search answers the grants of several tranches. Those without any are left
// out. mu is held.
func (p *Platform) search(c call, body []byte) (any, int) {
	var query struct {
		Criteria []struct {
			Field    string   `json:"field"`
			Operator string   `json:"operator"`
			Value    []string `json:"value"`
		} `json:"criteria"`
	}
	if json.Unmarshal(body, &query) != nil || len(query.Criteria) != 1 ||
		query.Criteria[0].Field != "trancheId" || query.Criteria[0].Operator != "in" {
		return nil, http.StatusBadRequest
	}
	p.most = max(p.most, len(query.Criteria[0].Value))
	all := []any{}
	for _, id := range query.Criteria[0].Value {
		if t := p.tranches[id]; t != nil && len(t.grants) > 0 {
			if g, code := p.one(c, id); code == http.StatusOK {
				all = append(all, g)
			}
		}
	}
	return all, http.StatusOK
}
