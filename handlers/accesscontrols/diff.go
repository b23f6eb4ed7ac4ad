package accesscontrols

import (
	"bytes"
	"strings"

	"github.com/seed75441868/postern/schemas"
)

// Limits of what an event tells of differences: how many there are, and how
// many bytes their values have.
const (
	maxChanges = 200
	maxValues  = 256 << 10
)

// differences collects what is different in a document.
type differences struct {
	list      []schemas.Difference
	bytes     int
	truncated bool
}

// diff returns what is different between two trees, at which place each. Arrays
// are sets in one order by now, and differ as a whole. Too many differences, or
// too large ones, are left out, which truncated says.
func diff(before, after any) ([]schemas.Difference, bool) {
	var d differences
	d.compare("", before, after)
	return d.list, d.truncated
}

// whole returns the difference between nothing and a tree.
func whole(tree any) ([]schemas.Difference, bool) {
	var d differences
	d.add(schemas.Difference{Op: "add", New: encode(tree)})
	return d.list, d.truncated
}

func (d *differences) compare(path string, before, after any) {
	b, bothObjects := before.(map[string]any)
	a, ok := after.(map[string]any)
	if !ok || !bothObjects {
		if old, now := encode(before), encode(after); !bytes.Equal(old, now) {
			d.add(schemas.Difference{Path: path, Op: "replace", Old: old, New: now})
		}
		return
	}
	all := map[string]any{}
	for name := range b {
		all[name] = nil
	}
	for name := range a {
		all[name] = nil
	}
	for _, name := range sortedKeys(all) {
		old, was := b[name]
		now, is := a[name]
		at := path + "/" + pointer.Replace(name)
		switch {
		case !was:
			d.add(schemas.Difference{Path: at, Op: "add", New: encode(now)})
		case !is:
			d.add(schemas.Difference{Path: at, Op: "remove", Old: encode(old)})
		default:
			d.compare(at, old, now)
		}
	}
}

func (d *differences) add(change schemas.Difference) {
	size := len(change.Path) + len(change.Old) + len(change.New)
	if len(d.list) == maxChanges || d.bytes+size > maxValues {
		d.truncated = true
		return
	}
	d.bytes += size
	d.list = append(d.list, change)
}

// pointer escapes a name for a JSON Pointer (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")
