package corastone

import (
	"context"
	"maps"
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
	Channel       string `json:"channel"`
	TransactionID string `json:"transactionId"`
	Cause         string `json:"cause"` // id of the process' event
	Told          bool   `json:"told"`  // the reasons have come
}

func (w waiting) encode() jsontext.Value {
	b, err := json.Marshal(w, json.Deterministic(true))
	if err != nil {
		panic(err) // texts
	}
	return b
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
func (v *visible) answerComments(ctx context.Context, ids []string, s handlers.Scan) error {
	if len(ids) == 0 {
		return nil
	}
	comments, err := v.comments(ctx, "commentIdsFilter", ids)
	if err != nil {
		return err
	}
	return v.answerWaiting(ctx, slices.Sorted(maps.Keys(comments)), comments, s)
}

// comments returns comments, by the assets that they are on.
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
	var w waiting
	state := r.Parts[RoleRemediation].State
	if state == nil || json.Unmarshal(state, &w) != nil || w.Told {
		return nil, nil
	}
	return &w, nil
}

// answerWaiting tells reasons that have come.
func (v *visible) answerWaiting(ctx context.Context, assets []string, comments map[string][]jsontext.Value, s handlers.Scan) error {
	for _, id := range assets {
		w, err := waitingFor(ctx, s, id)
		if err != nil {
			return err
		}
		if w == nil || len(reasonsOf(comments[id])) == 0 {
			continue
		}
		if err := tellReasons(s, id, *w, comments[id]); err != nil {
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
		var w waiting
		if json.Unmarshal(r.Parts[RoleRemediation].State, &w) == nil && !w.Told {
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
			v := lookUp(r.members, path)
			if v.Kind() == jsontext.KindBeginArray && json.Unmarshal(v, &list) == nil && len(list) > 0 {
				break
			}
		}
		for _, n := range list {
			if n.Category == "" {
				continue
			}
			out := schemas.RemediationReason{
				Category: strings.ToUpper(n.Category), Label: schemas.DescribeCategory(strings.ToUpper(n.Category)),
				Documents: []schemas.RemediationDocument{},
			}
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
