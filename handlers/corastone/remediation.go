package corastone

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// RoleRemediation is the role of what is kept of a remediation whose reasons
// are not there yet.
const RoleRemediation = "remediation"

// stepRemediation is the step that asks for a remediation.
const stepRemediation = "RemediationRequested"

// waiting is a remediation whose reasons are not there yet, as it is kept.
type waiting struct {
	Channel         string `json:"channel"`
	TransactionID   string `json:"transactionId"`
	Block           *int64 `json:"block,omitempty"`
	OrchestrationID string `json:"orchestrationId,omitempty"`
	Cause           string `json:"cause"` // id of the process' event
	Told            bool   `json:"told"`  // the reasons have come
	// Used are the comments whose reasons were told, of this remediation and
	// of those before: the last of them.
	Used []string `json:"used,omitempty"`
}

// maxUsed bounds how many comments are remembered.
const maxUsed = 200

func (w waiting) encode() jsontext.Value {
	b, err := json.Marshal(w, json.Deterministic(true))
	if err != nil {
		panic(err) // texts
	}
	return b
}

// decodeWaiting returns what is kept of an asset's last remediation, nil if it
// never had one.
func decodeWaiting(r handlers.Record) *waiting {
	var w waiting
	state := r.Parts[RoleRemediation].State
	if state == nil || json.Unmarshal(state, &w) != nil {
		return nil
	}
	return &w
}

// remediation adds to a step that asks for a remediation the comments that give
// its reasons, and notes whether they are waited for. Comments of a remediation
// before are not among them.
func (f *stepFact) remediation(p process, known handlers.Record, comments []jsontext.Value, s handlers.Scan) error {
	last := decodeWaiting(known)
	if last != nil && strings.EqualFold(last.TransactionID, f.TransactionID) {
		f.Comments = comments // it was told before
		return nil
	}
	w := waiting{
		Channel: f.Channel, TransactionID: f.TransactionID, Block: f.Block, OrchestrationID: f.OrchestrationID, Cause: f.Cause,
	}
	if last != nil {
		w.Used = last.Used
		comments = unused(comments, last.Used)
		if last.Block != nil && f.Block != nil && *f.Block < *last.Block {
			// It is heard of late: what waits is a newer one, and the comments
			// may be of either unless the transaction names them.
			f.Comments = ownComments(comments, p.comments)
			return nil
		}
	}
	if own := ownComments(comments, p.comments); len(own) > 0 {
		comments = own
	}
	f.Comments = comments
	if f.reasons() != nil {
		w.Told, w.Used = true, used(w.Used, comments)
	}
	return s.Saw(handlers.Sighting{Key: f.AssetID, Role: RoleRemediation, Alone: true, State: w.encode()})
}

func commentIDOf(native jsontext.Value) string {
	r, ok := readRow(native)
	if !ok {
		return ""
	}
	return r.text(commentID)
}

// ownComments returns the comments with one of some ids.
func ownComments(comments []jsontext.Value, ids []string) []jsontext.Value {
	return slices.DeleteFunc(slices.Clone(comments), func(c jsontext.Value) bool { return !hasID(ids, commentIDOf(c)) })
}

// unused returns the comments whose reasons were not told.
func unused(comments []jsontext.Value, ids []string) []jsontext.Value {
	return slices.DeleteFunc(slices.Clone(comments), func(c jsontext.Value) bool { return hasID(ids, commentIDOf(c)) })
}

// used adds comments with reasons to those whose reasons were told.
func used(ids []string, comments []jsontext.Value) []string {
	ids = slices.Clone(ids)
	for _, c := range comments {
		if id := commentIDOf(c); id != "" && !hasID(ids, id) && len(reasonsOf([]jsontext.Value{c})) > 0 {
			ids = append(ids, id)
		}
	}
	return ids[max(len(ids)-maxUsed, 0):]
}

// commentsOf returns the comments on the assets that are to be remedied, by
// asset: those of this transaction, and those whose reasons are waited for.
func (v *visible) commentsOf(ctx context.Context, steps []step, details map[string]jsontext.Value, s handlers.Scan) (map[string][]jsontext.Value, error) {
	wanted := map[string]bool{}
	for _, st := range steps {
		if st.event == stepRemediation {
			wanted[st.assetID] = true
		}
	}
	for id := range details {
		w, err := waitingFor(ctx, s, id)
		if err != nil {
			return nil, err
		}
		if w != nil {
			wanted[id] = true
		}
	}
	return v.comments(ctx, "assetIdsFilter", slices.Sorted(maps.Keys(wanted)))
}

// answerComments tells the reasons that comments bring which are waited for.
func (v *visible) answerComments(ctx context.Context, p process, ids []string, s handlers.Scan, last bool) error {
	if len(ids) == 0 {
		return nil
	}
	patient := !last && p.young(s.Began(), commentsMayBe)
	comments, err := v.comments(ctx, "commentIdsFilter", ids)
	if err != nil {
		if patient {
			return err
		}
		return nil // the poller of assets asks for what is waited for
	}
	var got []string
	for _, list := range comments {
		for _, c := range list {
			got = append(got, commentIDOf(c))
		}
	}
	if patient && slices.ContainsFunc(ids, func(id string) bool { return !hasID(got, id) }) {
		return &handlers.UpstreamError{Endpoint: readComments.name, Err: errNoComments}
	}
	return v.answerWaiting(ctx, slices.Sorted(maps.Keys(comments)), comments, s)
}

// comments returns comments, by the assets that they are on: as those spell them
// that are asked for.
func (v *visible) comments(ctx context.Context, filter string, of []string) (map[string][]jsontext.Value, error) {
	found := map[string][]jsontext.Value{}
	err := v.client.byIDs(ctx, readComments, filter, of, nil, func(rows []jsontext.Value) error {
		for _, native := range rows {
			var c struct {
				Associated struct {
					AssetIDs ids            `json:"assetIds"`
					Unknown  jsontext.Value `json:",embed"`
				} `json:"associatedEntities"`
				Unknown jsontext.Value `json:",embed"`
			}
			if json.Unmarshal(native, &c) != nil {
				return &handlers.UpstreamError{Endpoint: readComments.name, Err: handlers.ErrIncomplete}
			}
			for _, id := range c.Associated.AssetIDs {
				id, _ = spelled(of, id)
				found[id] = append(found[id], native)
			}
		}
		return nil
	})
	return found, err
}

// waitingFor returns the remediation of an asset whose reasons are waited for,
// nil if there is none.
func waitingFor(ctx context.Context, s handlers.Scan, asset string) (*waiting, error) {
	r, err := s.Record(ctx, asset)
	if err != nil {
		return nil, err
	}
	if w := decodeWaiting(r); w != nil && !w.Told {
		return w, nil
	}
	return nil, nil
}

// answerWaiting tells reasons that have come.
func (v *visible) answerWaiting(ctx context.Context, assets []string, comments map[string][]jsontext.Value, s handlers.Scan) error {
	type answer struct {
		waiting
		comments []jsontext.Value
	}
	answers := map[string]answer{}
	for _, id := range assets {
		w, err := waitingFor(ctx, s, id)
		if err != nil {
			return err
		}
		if w == nil {
			continue
		}
		fresh := unused(comments[id], w.Used)
		if len(reasonsOf(fresh)) == 0 {
			continue
		}
		answers[id] = answer{*w, fresh}
	}
	ids := slices.Sorted(maps.Keys(answers))
	details, err := v.assetsByID(ctx, ids)
	if err != nil {
		return err
	}
	spellings := slices.Collect(maps.Keys(details))
	for _, id := range ids {
		as, _ := spelled(spellings, id)
		if err := tellReasons(s, id, answers[id].waiting, details[as], answers[id].comments); err != nil {
			return err
		}
	}
	return nil
}

// scanWaiting asks for the reasons that are waited for: a comment need not
// come with a process that names the asset.
func (v *visible) scanWaiting(ctx context.Context, s handlers.Scan) error {
	var ids []string
	err := s.Records(ctx, RoleRemediation, func(key string, r handlers.Record) error {
		if w := decodeWaiting(r); w != nil && !w.Told {
			ids = append(ids, key)
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	comments, err := v.comments(ctx, "assetIdsFilter", ids)
	if err != nil {
		return err
	}
	return v.answerWaiting(ctx, ids, comments, s)
}

// reason is a reason for a remediation, in the shape that the guide gives for
// transfers (Request Transfer Assets Remediation): what the reasons of other
// remediations look like is inferred from it.
type reason struct {
	Message   string `json:"message"`
	Category  string `json:"category"`
	Documents []struct {
		Document struct {
			FileID  string         `json:"fileId"`
			Unknown jsontext.Value `json:",embed"`
		} `json:"document"`
		Pages []struct {
			Number  pageNumber     `json:"pageNumber"`
			Unknown jsontext.Value `json:",embed"`
		} `json:"pages"`
		Unknown jsontext.Value `json:",embed"`
	} `json:"documentWithIssues"`
	Unknown jsontext.Value `json:",embed"`
}

// pageNumber is a number, or a text of one.
type pageNumber int64

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (n *pageNumber) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	i, err := strconv.ParseInt(token.String(), 10, 32)
	if err != nil || i < 0 {
		return errShape
	}
	*n = pageNumber(i)
	return nil
}

// reasonPlaces are where a comment, or a step, may have its reasons.
var reasonPlaces = []string{"reason", "reasons", "extraData.reason", "extraData.reasons", "update.reason", "update.reasons", "remediationReasons"}

// categoryCode is what codes of categories look like: EC001 and the like.
var categoryCode = regexp.MustCompile(`^[A-Z]{1,4}[0-9]{1,6}$`)

// category returns the code of a category, "" if it doesn't look like one: free
// text is on the twin only.
func category(code string) string {
	if code = strings.ToUpper(strings.TrimSpace(code)); categoryCode.MatchString(code) {
		return code
	}
	return ""
}

// reasonsOf returns the reasons that rows give, in their order.
func reasonsOf(rows []jsontext.Value) []schemas.RemediationReason {
	var all []schemas.RemediationReason
	for _, native := range rows {
		r, ok := readRow(native)
		if !ok {
			continue
		}
		var list []reason
		for _, path := range reasonPlaces {
			var read []reason // half of it, if it can't be read
			v := lookUp(r.members, path)
			if v.Kind() == jsontext.KindBeginArray && json.Unmarshal(v, &read) == nil && len(read) > 0 {
				list = read
				break
			}
		}
		for _, n := range list {
			if n.Category == "" && n.Message == "" && len(n.Documents) == 0 {
				continue
			}
			out := schemas.RemediationReason{Category: category(n.Category), Documents: []schemas.RemediationDocument{}}
			out.Label = schemas.DescribeCategory(out.Category)
			for _, d := range n.Documents {
				doc := schemas.RemediationDocument{FileID: optional(d.Document.FileID), Pages: []int64{}}
				for _, page := range d.Pages {
					doc.Pages = append(doc.Pages, int64(page.Number))
				}
				out.Documents = append(out.Documents, doc)
			}
			all = append(all, out)
		}
	}
	return all
}
