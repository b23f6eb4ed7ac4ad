package tokeny

import (
	"crypto/sha256"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// maxDrift is how much drift one scan may tell: all of it, unless somebody
// fills a list with it.
const maxDrift = 32

// driftNotes is what of a scan's lists the vocabulary doesn't know.
type driftNotes struct{ notes []driftNote }

// driftNote is the payload of a delivery.
type driftNote struct {
	Path  string  `json:"path"`
	Value *string `json:"value,omitempty"`
}

// unknown notes a member. Its name may be anything, personal data too, if it
// doesn't look like one; then it becomes "*".
func (d *driftNotes) unknown(path, name string) {
	if !isName(name) {
		name = "*"
	}
	d.field(path + "." + name)
}

func (d *driftNotes) field(path string) { d.add(driftNote{Path: path}) }

func (d *driftNotes) count(path string, n int) {
	text := strconv.Itoa(n)
	d.add(driftNote{Path: path, Value: &text})
}

func (d *driftNotes) add(n driftNote) {
	noted := slices.ContainsFunc(d.notes, func(other driftNote) bool { return other.Path == n.Path })
	if !noted && len(d.notes) < maxDrift {
		d.notes = append(d.notes, n)
	}
}

// tell tells each note as a fact of its own, which is told once for a long
// time however often it is noted.
func (d *driftNotes) tell(s handlers.Scan) error {
	for _, n := range d.notes {
		payload, err := json.Marshal(n, json.Deterministic(true))
		if err != nil {
			return errNoUTF8
		}
		content := sha256.Sum256(payload)
		fact := handlers.Fact{
			Role: RoleDrift, TransportID: "drift:" + schemas.Token(string(payload)), Content: content, Payload: payload,
		}
		if err := s.Tell(fact); err != nil {
			return err
		}
	}
	return nil
}

// normalizeDrift translates such a note.
func normalizeDrift(d handlers.Delivery) (handlers.Output, error) {
	var n driftNote
	if json.Unmarshal(d.Payload, &n) != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "a note of drift is not strict JSON")
	}
	if n.Path == "" || len(n.Path) > maxText {
		return handlers.Output{}, unusable(schemas.ReasonInvalidEvent, "a note of drift has no path")
	}
	return handlers.Output{Drift: []schemas.Drift{{Platform: Name, Path: n.Path, Value: n.Value}}}, nil
}
