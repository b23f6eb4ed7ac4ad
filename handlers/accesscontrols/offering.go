package accesscontrols

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// switches are the flags that have events for on and off.
var switches = []struct {
	flag    string
	on, off schemas.Type
}{
	{flagBook, schemas.OfferingBookOpened, schemas.OfferingBookClosed},
	{flagHedgeBook, schemas.OfferingHedgeBookOpened, schemas.OfferingHedgeBookClosed},
	{flagReleased, schemas.OfferingAllocationsReleased, schemas.OfferingAllocationsUnreleased},
}

// visibility are the flags that say who sees what, as they are told.
var visibility = []struct{ flag, path string }{
	{flagTranche, "/tranche"},
	{flagAllocation, "/allocations"},
	{flagInvestor, "/allocationsToInvestor"},
}

// normalizeOffering tells which flags of an offering changed. Of one that was
// not seen before it tells only that it is on: off is how all begin.
func normalizeOffering(d handlers.Delivery, c handlers.Change) (handlers.Output, error) {
	now, err := readFlags(c.After().State)
	if err != nil || now.TrancheID == "" || now.ReleaseAPI == "" {
		return handlers.Output{}, badJSON("state is none of an offering")
	}
	var was flags
	if c.Before().State != nil {
		if was, err = readFlags(c.Before().State); err != nil {
			return handlers.Output{}, badJSON("previous state is none of an offering")
		}
	}
	var out handlers.Output
	if !c.After().Present() {
		return out, nil
	}
	tell := func(typ schemas.Type, data schemas.OfferingFlags) {
		e := c.Event(d, typ, now.TrancheID, data)
		// When it was seen first it may have been so for long.
		if c.Before().State != nil && now.ModifiedAt != was.ModifiedAt && schemas.IsTime(now.ModifiedAt) {
			e.Time = now.ModifiedAt
		}
		out.Events = append(out.Events, e)
	}
	data := schemas.OfferingFlags{
		Observed: c.Observed(), Platform: Name, TrancheID: now.TrancheID, SourceID: optional(now.SourceID), API: "v1", Shared: now.Shared,
		ModifiedAt: optional(now.ModifiedAt), ModifiedBy: optional(now.ModifiedBy),
	}
	for _, s := range switches {
		on, old, changed := flipped(was, now, s.flag)
		if !changed {
			continue
		}
		told := data
		told.NativeType, told.NativeStatus, told.PreviousStatus = s.flag, status(&on), status(old)
		if s.flag == flagReleased {
			told.API = now.ReleaseAPI
		}
		typ := s.off
		if on {
			typ = s.on
		}
		tell(typ, told)
	}
	data.NativeType = "visibility"
	for _, v := range visibility {
		on, old, changed := flipped(was, now, v.flag)
		if !changed {
			continue
		}
		difference := schemas.Difference{Path: v.path, Op: "add", New: jsontext.Value(*status(&on))}
		if old != nil {
			difference.Op, difference.Old = "replace", jsontext.Value(*status(old))
		}
		data.Changes = append(data.Changes, difference)
	}
	if len(data.Changes) > 0 {
		tell(schemas.OfferingVisibilityChanged, data)
	}
	return out, nil
}

// flipped returns what a flag is and was, and whether that is to be told.
func flipped(was, now flags, name string) (on bool, old *bool, changed bool) {
	on, is := now.Flags[name]
	before, known := was.Flags[name]
	if known {
		old = &before
	}
	return on, old, is && (known && on != before || !known && on)
}

func status(on *bool) *string {
	if on == nil {
		return nil
	}
	s := strconv.FormatBool(*on)
	return &s
}
