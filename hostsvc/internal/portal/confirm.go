package portal

// confirm asks before something that cannot be taken back. Its form goes
// to the path of the page itself.
type confirm struct {
	Title  string
	Crumbs []action
	Text   string
	// Effects say what will happen, one sentence each.
	Effects []string
	Fields  map[string]string
	Box     *box // nil: none
	Button  string
	Kind    string // of the button; "": danger
	Type    string // a name that has to be typed, see confirmed; "" for none
	Back    string
}

// box is what may be done as well.
type box struct{ Name, Label, Hint string }

// ask shows the question.
func (q *request) ask(c confirm) error { return q.render("confirm", c.Title, c) }

// confirmed tells whether the name was typed that confirm.Type asks for.
func (q *request) confirmed(name string) bool {
	if q.text("confirm") != name {
		q.note("confirm", "Type %s to confirm", name)
		return false
	}
	return true
}
