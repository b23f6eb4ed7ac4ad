package concedus

import (
	"slices"

	"github.com/shopspring/decimal"
)

// measure is something that summaries say of what they summarize.
type measure struct {
	member string // of a contract
	said   func(summary) amount
	of     func(contract) string
}

var measures = []measure{
	{"share", func(s summary) amount { return s.SumShare }, func(c contract) string { return c.Share }},
	{"agio", func(s summary) amount { return s.SumAgio }, func(c contract) string { return c.Agio }},
}

// consistent reports whether the summaries of all pages are right: each about
// its own page, or all about the whole list, of which each contract counts
// once. What a summary doesn't say is not checked, nor a page without contracts
// behind the others, nor what can't be summed up because one contract's is no
// number.
func consistent(pages []page, all []contract) bool {
	if len(pages) > 1 && pages[len(pages)-1].empty {
		pages = pages[:len(pages)-1]
	}
	for i, m := range measures {
		if !m.agrees(i, pages, all) {
			return false
		}
	}
	return true
}

func (m measure) agrees(i int, pages []page, all []contract) bool {
	if slices.ContainsFunc(all, func(c contract) bool { return slices.Contains(c.Strange, m.member) }) {
		return true
	}
	total := m.sum(all)
	byPage, byList := true, true
	for _, p := range pages {
		said := m.said(p.summary)
		if said.value == "" {
			continue
		}
		n := number(said.value)
		byPage = byPage && n.Equal(p.sums[i])
		byList = byList && n.Equal(total)
	}
	return byPage || byList
}

func (m measure) sum(contracts []contract) decimal.Decimal {
	sum := decimal.Zero
	for _, c := range contracts {
		sum = sum.Add(number(m.of(c)))
	}
	return sum
}
