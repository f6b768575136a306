package api

import "reflect"

// Row is what the tests outside this package know of an endpoint.
type Row struct {
	Method, Path string
	In           reflect.Type
}

// GuestRows is the part of the table that guests see.
func GuestRows() (rows []Row) {
	for _, e := range endpoints {
		if e.audience == guests || e.audience == both {
			rows = append(rows, Row{e.method, e.path, e.in})
		}
	}
	return rows
}

// AdminRows is the part of the table that is not for guests.
func AdminRows() (rows []Row) {
	for _, e := range endpoints {
		if e.audience == admins || e.audience == users {
			rows = append(rows, Row{e.method, e.path, e.in})
		}
	}
	return rows
}
