package api

import "reflect"

// Operation is one row of the table, for who examines the interface from
// outside.
type Operation struct {
	Method, Path string // below wire.Prefix; {word} stands for one segment
	Query        []string
	Body         reflect.Type // of the request, nil for none
	Endless      bool         // the answer is events, as long as somebody listens
}

// Table lists everything that can be asked.
func Table() []Operation {
	all := make([]Operation, len(endpoints))
	for i, e := range endpoints {
		all[i] = Operation{Method: e.method, Path: e.path, Body: e.in, Endless: e.media == "text/event-stream"}
		for _, p := range e.query {
			all[i].Query = append(all[i].Query, p.name)
		}
	}
	return all
}
