package tokeny

import (
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// holder is a holder of a token. What members it has is assumed: those of
// candidates, and the names that other endpoints have for ids and wallets.
type holder struct {
	ID          loose `json:"id"`
	HolderID    loose `json:"holderId"`
	CandidateID loose `json:"candidateId"`
	IdentityID  loose `json:"identityId"`
	Email       loose `json:"email"`
	Wallet      loose `json:"wallet"`
	Wallets     loose `json:"wallets"`
	Status      loose `json:"status"`
}

// loose is the texts of a value: itself, those of a list, or those that a list
// of objects has of an address. Of other values it has none.
type loose []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *loose) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case jsontext.KindString:
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if text := token.String(); text != "" {
			*l = append(*l, text)
		}
		return nil
	case jsontext.KindBeginArray:
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		for dec.PeekKind() != jsontext.KindEndArray {
			if err := l.UnmarshalJSONFrom(dec); err != nil {
				return err
			}
		}
		_, err := dec.ReadToken()
		return err
	case jsontext.KindBeginObject:
		var object struct {
			Address loose `json:"address"`
			Wallet  loose `json:"wallet"`
		}
		if err := json.UnmarshalDecode(dec, &object); err != nil {
			return err
		}
		*l = append(append(*l, object.Address...), object.Wallet...)
		return nil
	}
	return dec.SkipValue()
}

// holders is who holds a token, by all that a candidate may be known by. The
// values are the statuses that they have, "" if none is said.
type holders struct {
	ids, emails, wallets map[string]string
	partly               bool // not all could be read
	code                 int  // what was answered instead, 0 if nothing
}

func newHolders() *holders {
	return &holders{ids: map[string]string{}, emails: map[string]string{}, wallets: map[string]string{}}
}

// add reads a holder, and forgets who it is.
func (hs *holders) add(dec *jsontext.Decoder, pseudonym func(string) string) error {
	var h holder
	if err := json.UnmarshalDecode(dec, &h); err != nil {
		return readable(err)
	}
	status := ""
	if len(h.Status) == 1 && utf8.RuneCountInString(h.Status[0]) <= maxText {
		status = h.Status[0]
	}
	for _, ids := range []loose{h.ID, h.HolderID, h.CandidateID, h.IdentityID} {
		for _, id := range ids {
			hs.ids[id] = status
		}
	}
	for _, email := range h.Email {
		hs.emails[hash(pseudonym, email)] = status
	}
	for _, wallets := range []loose{h.Wallet, h.Wallets} {
		for _, wallet := range wallets {
			hs.wallets[hash(pseudonym, wallet)] = status
		}
	}
	return nil
}

// any reports whether there is a holder at all.
func (hs *holders) any() bool { return len(hs.ids)+len(hs.emails)+len(hs.wallets) > 0 }

// unread reports whether there may be holders that nobody told of.
func (hs *holders) unread() bool { return hs.partly || hs.code != 0 }

// find looks for an investor: by its id, which a holder need not have kept,
// then by its mail address, which belongs to one investor only (Qualify new
// investors), then by its wallet, for which that holds as well.
func (hs *holders) find(id string, t tracked) (*holding, bool) {
	status, ok := hs.ids[id]
	if !ok && t.EmailHash != "" {
		status, ok = hs.emails[t.EmailHash]
	}
	if !ok && t.WalletHash != "" {
		status, ok = hs.wallets[t.WalletHash]
	}
	if !ok {
		return nil, false
	}
	return &holding{Found: &ok, Status: status}, true
}

// evidence returns what is known of an investor that is not among them.
func (hs *holders) evidence() holding {
	if hs.unread() {
		return holding{Code: int64(hs.code)}
	}
	return holding{Found: new(bool)}
}
