package portal

import "html/template"

// icons are drawn on a field of 20 by 20 with a line of 1.5, in the colour of
// the text around them. They always stand beside a word, so they are hidden
// from those who hear the page.
var icons = map[string]template.HTML{
	"home":        `<path d="M3 9.2 10 3.5l7 5.7M5 8v8.5h10V8M8.2 16.5v-5h3.6v5"/>`,
	"tenants":     `<path d="M3 17V6l5-3v14M8 17h9V8H8M2 17h16M11 11h3M11 14h3M5.5 8v.1M5.5 11v.1M5.5 14v.1"/>`,
	"volume":      `<ellipse cx="10" cy="5" rx="6.5" ry="2.3"/><path d="M3.5 5v10c0 1.3 2.9 2.3 6.5 2.3s6.5-1 6.5-2.3V5M3.5 10c0 1.3 2.9 2.3 6.5 2.3s6.5-1 6.5-2.3"/>`,
	"vm":          `<rect x="2.5" y="3.5" width="15" height="10" rx="1.5"/><path d="M7 17h6M10 13.5V17"/>`,
	"job":         `<rect x="4" y="3.5" width="12" height="14" rx="1.5"/><path d="M7.5 3.5V2.3h5v1.2M7 8.5l1.2 1.2L10.5 7.5M7 13.3l1.2 1.2 2.3-2.2M13 8.7h.5M13 13.5h.5"/>`,
	"calendar":    `<rect x="3" y="4.5" width="14" height="12.5" rx="1.5"/><path d="M3 8.5h14M7 2.5v3.5M13 2.5v3.5M6.5 12h2M11.5 12h2"/>`,
	"activity":    `<path d="M2.5 10.5h3.3L8 4.5l4 11 2.2-5h3.3"/>`,
	"point":       `<circle cx="10" cy="10" r="7"/><path d="M10 6v4.2l2.8 1.8"/>`,
	"recover":     `<path d="M4 10a6.3 6.3 0 1 1 2 4.6M4 15.5v-4.3h4.3M10 7v3.3l2.2 1.3"/>`,
	"repository":  `<path d="M3 6.5 5 3h10l2 3.5v10H3zM3 6.5h14M8 10h4"/>`,
	"transporter": `<path d="M3 7h11.5M11.5 3.8 14.8 7l-3.3 3.2M17 13.5H5.5M8.5 10.3 5.2 13.5l3.3 3.2"/>`,
	"cpu":         `<rect x="5" y="5" width="10" height="10" rx="1.5"/><path d="M8 8h4v4H8zM7.5 2.5V5M12.5 2.5V5M7.5 15v2.5M12.5 15v2.5M2.5 7.5H5M2.5 12.5H5M15 7.5h2.5M15 12.5h2.5"/>`,
	"pool":        `<path d="M10 2.8v7.2l6.2 3.6"/><circle cx="10" cy="10" r="7.2"/>`,
	"user":        `<circle cx="10" cy="6.5" r="3.2"/><path d="M3.5 17c.5-3.6 3-5.5 6.5-5.5s6 1.9 6.5 5.5"/>`,
	"bell":        `<path d="M4 14.5h12l-1.5-2.2V9a4.5 4.5 0 0 0-9 0v3.3zM8.3 17h3.4"/>`,
	"audit":       `<path d="M5 2.5h7l3.5 3.5v11.5H5zM12 2.5V6h3.5M7.5 9.5h5.5M7.5 12h5.5M7.5 14.5h3"/>`,
	"settings":    `<path d="M3 5.5h8M15 5.5h2M3 10h2M9 10h8M3 14.5h8M15 14.5h2"/><circle cx="13" cy="5.5" r="1.8"/><circle cx="7" cy="10" r="1.8"/><circle cx="13" cy="14.5" r="1.8"/>`,

	"check":      `<path d="m4.5 10.5 3.7 3.7 7.5-8"/>`,
	"warn":       `<path d="M10 3.2 17.8 16.5H2.2zM10 8v4M10 14.2v.1"/>`,
	"alarm":      `<circle cx="10" cy="10" r="7.3"/><path d="M10 6v5M10 13.7v.1"/>`,
	"info":       `<circle cx="10" cy="10" r="7.3"/><path d="M10 9.3v4.7M10 6.3v.1"/>`,
	"clock":      `<circle cx="10" cy="10" r="7.3"/><path d="M10 5.8V10l2.8 1.7"/>`,
	"play":       `<path d="M6 4v12l9.5-6z"/>`,
	"pause":      `<path d="M7 4.5v11M13 4.5v11"/>`,
	"stop":       `<rect x="5" y="5" width="10" height="10" rx="1.5"/>`,
	"dot":        `<circle cx="10" cy="10" r="3"/>`,
	"shield":     `<path d="M10 2.5 16 5v4.5c0 4-2.5 6.7-6 8-3.5-1.3-6-4-6-8V5zM7.3 10l2 2 3.5-3.7"/>`,
	"shield-off": `<path d="M10 2.5 16 5v4.5c0 4-2.5 6.7-6 8-3.5-1.3-6-4-6-8V5z"/>`,
	"plug":       `<path d="M7 2.5V6M13 2.5V6M5 6h10v3.5a5 5 0 0 1-10 0zM10 14.5v3"/>`,
	"trash":      `<path d="M3.5 5.5h13M8 5.5V3h4v2.5M5 5.5l.8 11.5h8.4L15 5.5M8.5 8.5v5.5M11.5 8.5v5.5"/>`,
	"plus":       `<path d="M10 4v12M4 10h12"/>`,
	"edit":       `<path d="m4 13.2-.7 3.5 3.5-.7L16.5 6.3l-2.8-2.8zM11.8 5.4l2.8 2.8"/>`,
	"copy":       `<rect x="7" y="7" width="9.5" height="9.5" rx="1.5"/><path d="M4.5 13h-1V3.5H13v1"/>`,
	"download":   `<path d="M10 3v9.5M6 8.8l4 4 4-4M3.5 16.5h13"/>`,
	"upload":     `<path d="M10 13V3.5M6 7.2l4-4 4 4M3.5 16.5h13"/>`,
	"search":     `<circle cx="8.7" cy="8.7" r="5.2"/><path d="m12.6 12.6 4.4 4.4"/>`,
	"filter":     `<path d="M3 4.5h14l-5.5 6.5v5l-3 1.5V11z"/>`,
	"menu":       `<path d="M3 5.5h14M3 10h14M3 14.5h14"/>`,
	"left":       `<path d="m12 4.5-5.5 5.5 5.5 5.5"/>`,
	"right":      `<path d="m8 4.5 5.5 5.5L8 15.5"/>`,
	"down":       `<path d="m4.5 8 5.5 5.5L15.5 8"/>`,
	"up":         `<path d="m4.5 12.5 5.5-5.5 5.5 5.5"/>`,
	"out":        `<path d="M8 3.5H4v13h4M12.5 6l4 4-4 4M16 10H8"/>`,
	"key":        `<circle cx="6.5" cy="13.5" r="3.5"/><path d="m9 11 7.5-7.5M13.5 6.5l2.3 2.3M11.3 8.7l1.7 1.7"/>`,
	"lock":       `<rect x="4" y="9" width="12" height="8" rx="1.5"/><path d="M6.5 9V6.5a3.5 3.5 0 0 1 7 0V9"/>`,
	"sun":        `<circle cx="10" cy="10" r="3.3"/><path d="M10 2v2M10 16v2M2 10h2M16 10h2M4.3 4.3l1.4 1.4M14.3 14.3l1.4 1.4M4.3 15.7l1.4-1.4M14.3 5.7l1.4-1.4"/>`,
	"moon":       `<path d="M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5z"/>`,
	"as":         `<circle cx="7.5" cy="7" r="3"/><path d="M2 16.5c.4-3.3 2.5-5 5.5-5 1.5 0 2.7.4 3.7 1.2M12 15.5h6M15.5 13l2.5 2.5-2.5 2.5"/>`,
	"file":       `<path d="M5 2.5h7l3.5 3.5v11.5H5zM12 2.5V6h3.5"/>`,
	"folder":     `<path d="M2.5 16V4.5h5.2l1.8 2.2h8V16z"/>`,
	"retry":      `<path d="M16 10a6.3 6.3 0 1 1-2-4.6M16 3.5v4h-4"/>`,
	"hold":       `<path d="M6 9V5.5a4 4 0 0 1 8 0V9M4.5 9h11v8h-11zM10 12v2.5"/>`,
	"mail":       `<rect x="2.5" y="4.5" width="15" height="11" rx="1.5"/><path d="m3 5.5 7 5.5 7-5.5"/>`,
	"link":       `<path d="M8.5 11.5a3.3 3.3 0 0 0 4.7 0l2.8-2.8A3.3 3.3 0 0 0 11.3 4L10 5.3M11.5 8.5a3.3 3.3 0 0 0-4.7 0L4 11.3A3.3 3.3 0 0 0 8.7 16l1.3-1.3"/>`,
	"x":          `<path d="m5 5 10 10M15 5 5 15"/>`,
	"table":      `<rect x="2.5" y="4" width="15" height="12" rx="1.5"/><path d="M2.5 8h15M2.5 12h15M8 8v8"/>`,
	"cards":      `<rect x="3" y="3" width="6" height="6" rx="1"/><rect x="11" y="3" width="6" height="6" rx="1"/><rect x="3" y="11" width="6" height="6" rx="1"/><rect x="11" y="11" width="6" height="6" rx="1"/>`,
	"anchor":     `<circle cx="10" cy="4" r="1.8"/><path d="M10 5.8V17M6.5 8.5h7M3 11.5c.5 3.5 3.3 5.5 7 5.5s6.5-2 7-5.5"/>`,
	"phone":      `<rect x="5.5" y="2.5" width="9" height="15" rx="1.8"/><path d="M9 14.8h2"/>`,
}

// icon is a drawing with a name; one that is not known is a dot.
func icon(name string) template.HTML {
	lines, ok := icons[name]
	if !ok {
		lines = icons["dot"]
	}
	return `<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">` + lines + `</svg>`
}
