package tokeny

import "hash/maphash"

// pseudonyms makes pseudonyms, and remembers them: most of what a scan sees the
// one before saw as well. What it made them of it doesn't remember, but a hash
// of 128 bits, whose seed is nobody's to know, so that two values that share
// one can't be found and don't happen.
type pseudonyms struct {
	fresh  func(string) string
	seeds  [2]maphash.Seed
	made   map[[2]uint64]string
	asked  int // in this scan
	before int // in those before, of which older ones count less
}

func newPseudonyms(fresh func(string) string) *pseudonyms {
	return &pseudonyms{
		fresh: fresh,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		made:  map[[2]uint64]string{},
	}
}

// begin begins a scan. If most of what is remembered is of no use any more, all
// is forgotten.
func (p *pseudonyms) begin() {
	p.before, p.asked = max(p.before/2, p.asked), 0
	if len(p.made) > 2*p.before+1000 {
		clear(p.made)
	}
}

// of returns the pseudonym of a value.
func (p *pseudonyms) of(value string) string {
	p.asked++
	key := [2]uint64{maphash.String(p.seeds[0], value), maphash.String(p.seeds[1], value)}
	made, ok := p.made[key]
	if !ok {
		made = p.fresh(value)
		p.made[key] = made
	}
	return made
}
