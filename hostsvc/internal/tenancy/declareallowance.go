package tenancy

import (
	"slices"

	"mooring.dev/mooring/pkg/volspec"
)

// delegated is what was delegated to a declared vmgroup, and what the file wants:
// the same where it does not say.
func (p applier) delegated(d declaration) (have, want volspec.Amounts, err error) {
	all, err := p.tx.Allowances(p.groups[d.Name].ID)
	if err != nil {
		return have, want, err
	}
	have = volspec.Delegated(all, p.groups[d.Name].ID)
	want = have
	if d.Allowance != nil {
		want = *d.Allowance
		want.Storage = have.Storage
	}
	return have, want, nil
}

// lessen takes from a vmgroup what it has too much, before any other gets more:
// the file may give to one what it takes from another.
func (p applier) lessen(d declaration) error {
	have, want, err := p.delegated(d)
	if err != nil || have == want {
		return err
	}
	pool, err := p.tx.Pool()
	if err != nil {
		return err
	}
	less := have
	for _, k := range kinds {
		size := *k.of(&pool)
		if volspec.Bound(size, *k.of(&want)) < volspec.Bound(size, *k.of(&have)) {
			*k.of(&less) = *k.of(&want)
		}
	}
	if less == have {
		return nil
	}
	p.changed[d.Name] = d.Source
	return p.tx.PutAllowance(p.groups[d.Name].ID, less)
}

func (p applier) delegate(d declaration) error {
	have, want, err := p.delegated(d)
	if err != nil || have == want {
		return err
	}
	p.changed[d.Name] = d.Source
	return p.s.delegate(p.tx, p.groups[d.Name], want, p.at)
}

func (p applier) bind(d declaration) error {
	if d.Transporters == nil {
		return nil
	}
	g := p.groups[d.Name]
	have, err := p.tx.Bound(g.ID)
	if err != nil || slices.Equal(have, slices.Sorted(slices.Values(d.Transporters))) {
		return err
	}
	p.changed[d.Name] = d.Source
	return bind(p.tx, g, d.Transporters)
}
