package portal

import "html/template"

// icons are drawn on a field of 20 by 20 with a line of 1.5, in the colour of
// the text around them. They always stand beside a word, so they are hidden
// from those who hear the page.
var icons = map[string]template.HTML{
	"home":        `<path d="M3 9.2 10 3.5l7 5.7M5 8v8.5h10V8M8.2 16.5v-5h3.6v5"/>`,
	"tenants":     `<path d="M3 17V6l5-3v14M8 17h9V8H8M2 17h16M11 11h3M11 14h3M5.5 8v.1M5.5 11v.1M5.5 14v.1"/>`,
	"volume":      `<ellipse cx="10" cy="5" rx="6.5" ry="2.3"/><path d="M3.5 5v10c0 1.3 2.9 2.3 6.5 2.300s6.5-1 6.5-2.300V5M3.5 10c0 1.3 2.9 2.3 6.5 2.300s6.5-1 6.5-2.3"/>`,
	"vm":          `<rect x="2.5" y="3.5" width="15" height="10" rx="1.5"/><path d="M7 17h6M10 13.500V17"/>`,
	"job":         `<rect x="4" y="3.5" width="12" height="14" rx="1.5"/><path d="M7.5 3.500V2.300h5v1.200M7 8.500l1.2 1.200L10.5 7.500M7 13.300l1.2 1.2 2.3-2.200M13 8.700h.500M13 13.500h.500"/>`,
	"calendar":    `<rect x="3" y="4.5" width="14" height="12.5" rx="1.5"/><path d="M3 8.500h14M7 2.500v3.500M13 2.500v3.500M6.5 12h2M11.5 12h2"/>`,
	"activity":    `<path d="M2.5 10.500h3.300L8 4.500l4 11 2.2-5h3.3"/>`,
	"point":       `<circle cx="10" cy="10" r="7"/><path d="M10 6v4.200l2.8 1.8"/>`,
	"recover":     `<path d="M4 10a6.3 6.3 0 1 1 2 4.600M4 15.500v-4.300h4.300M10 7v3.300l2.2 1.3"/>`,
	"repository":  `<path d="M3 6.5 5 3h10l2 3.500v10H3zM3 6.500h14M8 10h4"/>`,
	"transporter": `<path d="M3 7h11.500M11.5 3.8 14.8 7l-3.3 3.200M17 13.500H5.500M8.5 10.3 5.2 13.500l3.3 3.2"/>`,
	"cpu":         `<rect x="5" y="5" width="10" height="10" rx="1.5"/><path d="M8 8h4v4H8zM7.5 2.5V5M12.5 2.5V5M7.5 15v2.500M12.5 15v2.500M2.500 7.5H5M2.500 12.5H5M15 7.5h2.500M15 12.5h2.500"/>`,
	"pool":        `<path d="M10 2.800v7.200l6.2 3.6"/><circle cx="10" cy="10" r="7.2"/>`,
	"user":        `<circle cx="10" cy="6.5" r="3.2"/><path d="M3.5 17c.5-3.6 3-5.5 6.5-5.500s6 1.9 6.5 5.5"/>`,
	"bell":        `<path d="M4 14.500h12l-1.5-2.200V9a4.5 4.5 0 0 0-9 0v3.300zM8.3 17h3.4"/>`,
	"audit":       `<path d="M5 2.500h7l3.5 3.500v11.500H5zM12 2.500V6h3.500M7.5 9.500h5.500M7.5 12h5.500M7.5 14.500h3"/>`,
	"settings":    `<path d="M3 5.500h8M15 5.500h2M3 10h2M9 10h8M3 14.500h8M15 14.500h2"/><circle cx="13" cy="5.5" r="1.8"/><circle cx="7" cy="10" r="1.8"/><circle cx="13" cy="14.5" r="1.8"/>`,

	"check":      `<path d="m4.5 10.5 3.7 3.7 7.5-8"/>`,
	"warn":       `<path d="M10 3.2 17.8 16.500H2.200zM10 8v4M10 14.200v.1"/>`,
	"alarm":      `<circle cx="10" cy="10" r="7.3"/><path d="M10 6v5M10 13.700v.1"/>`,
	"info":       `<circle cx="10" cy="10" r="7.3"/><path d="M10 9.300v4.700M10 6.300v.1"/>`,
	"clock":      `<circle cx="10" cy="10" r="7.3"/><path d="M10 5.800V10l2.8 1.7"/>`,
	"play":       `<path d="M6 4v12l9.5-6z"/>`,
	"pause":      `<path d="M7 4.500v11M13 4.500v11"/>`,
	"stop":       `<rect x="5" y="5" width="10" height="10" rx="1.5"/>`,
	"dot":        `<circle cx="10" cy="10" r="3"/>`,
	"shield":     `<path d="M10 2.5 16 5v4.500c0 4-2.5 6.7-6 8-3.5-1.3-6-4-6-8V5zM7.3 10l2 2 3.5-3.7"/>`,
	"shield-off": `<path d="M10 2.5 16 5v4.500c0 4-2.5 6.7-6 8-3.5-1.3-6-4-6-8V5z"/>`,
	"plug":       `<path d="M7 2.500V6M13 2.500V6M5 6h10v3.500a5 5 0 0 1-10 0zM10 14.500v3"/>`,
	"trash":      `<path d="M3.5 5.500h13M8 5.500V3h4v2.500M5 5.500l.8 11.500h8.400L15 5.500M8.5 8.500v5.500M11.5 8.500v5.5"/>`,
	"plus":       `<path d="M10 4v12M4 10h12"/>`,
	"edit":       `<path d="m4 13.2-.7 3.5 3.5-.7L16.5 6.300l-2.8-2.800zM11.8 5.400l2.8 2.8"/>`,
	"copy":       `<rect x="7" y="7" width="9.5" height="9.5" rx="1.5"/><path d="M4.5 13h-1V3.500H13v1"/>`,
	"download":   `<path d="M10 3v9.500M6 8.800l4 4 4-4M3.5 16.500h13"/>`,
	"upload":     `<path d="M10 13V3.500M6 7.200l4-4 4 4M3.5 16.500h13"/>`,
	"search":     `<circle cx="8.7" cy="8.7" r="5.2"/><path d="m12.6 12.6 4.4 4.4"/>`,
	"filter":     `<path d="M3 4.500h14l-5.5 6.500v5l-3 1.500V11z"/>`,
	"menu":       `<path d="M3 5.500h14M3 10h14M3 14.500h14"/>`,
	"left":       `<path d="m12 4.5-5.5 5.5 5.5 5.5"/>`,
	"right":      `<path d="m8 4.5 5.5 5.500L8 15.5"/>`,
	"down":       `<path d="m4.5 8 5.5 5.500L15.5 8"/>`,
	"up":         `<path d="m4.5 12.5 5.5-5.5 5.5 5.5"/>`,
	"out":        `<path d="M8 3.500H4v13h4M12.5 6l4 4-4 4M16 10H8"/>`,
	"key":        `<circle cx="6.5" cy="13.5" r="3.5"/><path d="m9 11 7.5-7.500M13.5 6.500l2.3 2.300M11.3 8.700l1.7 1.7"/>`,
	"lock":       `<rect x="4" y="9" width="12" height="8" rx="1.5"/><path d="M6.5 9V6.500a3.5 3.5 0 0 1 7 0V9"/>`,
	"sun":        `<circle cx="10" cy="10" r="3.3"/><path d="M10 2v2M10 16v2M2 10h2M16 10h2M4.3 4.300l1.4 1.400M14.3 14.300l1.4 1.400M4.3 15.700l1.4-1.400M14.3 5.700l1.4-1.4"/>`,
	"moon":       `<path d="M16.5 12A7 7 0 0 1 8 3.500a7 7 0 1 0 8.5 8.500z"/>`,
	"as":         `<circle cx="7.5" cy="7" r="3"/><path d="M2 16.500c.4-3.3 2.5-5 5.5-5 1.5 0 2.7.4 3.7 1.200M12 15.500h6M15.5 13l2.5 2.5-2.5 2.5"/>`,
	"file":       `<path d="M5 2.500h7l3.5 3.500v11.500H5zM12 2.500V6h3.5"/>`,
	"folder":     `<path d="M2.5 16V4.500h5.200l1.8 2.200h8V16z"/>`,
	"retry":      `<path d="M16 10a6.3 6.3 0 1 1-2-4.600M16 3.500v4h-4"/>`,
	"hold":       `<path d="M6 9V5.500a4 4 0 0 1 8 0V9M4.5 9h11v8h-11zM10 12v2.5"/>`,
	"mail":       `<rect x="2.5" y="4.5" width="15" height="11" rx="1.5"/><path d="m3 5.5 7 5.5 7-5.5"/>`,
	"link":       `<path d="M8.5 11.500a3.3 3.3 0 0 0 4.7 0l2.8-2.800A3.3 3.3 0 0 0 11.3 4L10 5.300M11.5 8.500a3.3 3.3 0 0 0-4.7 0L4 11.300A3.3 3.3 0 0 0 8.7 16l1.3-1.3"/>`,
	"x":          `<path d="m5 5 10 10M15 5 5 15"/>`,
	"table":      `<rect x="2.5" y="4" width="15" height="12" rx="1.5"/><path d="M2.5 8h15M2.5 12h15M8 8v8"/>`,
	"cards":      `<rect x="3" y="3" width="6" height="6" rx="1"/><rect x="11" y="3" width="6" height="6" rx="1"/><rect x="3" y="11" width="6" height="6" rx="1"/><rect x="11" y="11" width="6" height="6" rx="1"/>`,
	"anchor":     `<circle cx="10" cy="4" r="1.8"/><path d="M10 5.800V17M6.5 8.500h7M3 11.500c.5 3.5 3.3 5.5 7 5.500s6.5-2 7-5.5"/>`,
	"phone":      `<rect x="5.5" y="2.5" width="9" height="15" rx="1.8"/><path d="M9 14.800h2"/>`,
}

// icon is a drawing with a name; one that is not known is a dot.
func icon(name string) template.HTML {
	lines, ok := icons[name]
	if !ok {
		lines = icons["dot"]
	}
	return `<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">` + lines + `</svg>`
}
