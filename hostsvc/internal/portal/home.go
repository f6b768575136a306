package portal

import "net/http"

var homeRoutes = []*route{
	{method: http.MethodGet, path: "/{$}", who: everyUser, handle: showHome},
}

func showHome(q *request) error { return q.render("home", "Overview", nil) }
