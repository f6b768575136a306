package portal

import "net/http"

var accountRoutes = []*route{
	{method: http.MethodGet, path: "/account", who: everyUser, permission: "self.manage", handle: showAccount},
}

func showAccount(q *request) error { return q.render("account", "Account", q.session) }
