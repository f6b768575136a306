package portal

// Route is a row of the table of pages, for the tests.
type Route struct{ Method, Path, Who, Permission, InTenant string }

// Routes are all rows.
func Routes() []Route {
	var all []Route
	for _, rt := range routes() {
		all = append(all, Route{rt.method, rt.path, string(rt.who), rt.permission, rt.inTenant})
	}
	return all
}
