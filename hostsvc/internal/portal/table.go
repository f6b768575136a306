package portal

// Page is one row of the table, for who examines the portal from outside.
type Page struct {
	Method, Path string // {word} stands for one segment, {$} for nothing
	Endless      bool   // the answer is events, for as long as somebody listens
}

// Table lists all pages and what their forms do.
func Table() []Page {
	var all []Page
	for _, rt := range routes() {
		all = append(all, Page{rt.method, rt.path, rt.endless})
	}
	return all
}
