package volspec

import "context"

type confineKey struct{}

// Confine binds all work under ctx to one vmgroup: the catalog finds no other by
// name, whatever a request says. It is for requests of a tenant's users, and
// holds for what goes on in their name after the answer.
func Confine(ctx context.Context, g VMGroupID) context.Context {
	return context.WithValue(ctx, confineKey{}, g)
}

// Confined is the vmgroup that ctx is bound to; ok is false if it is none.
func Confined(ctx context.Context) (g VMGroupID, ok bool) {
	g, ok = ctx.Value(confineKey{}).(VMGroupID)
	return g, ok
}
