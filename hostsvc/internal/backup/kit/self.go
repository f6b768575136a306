package kit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// RenderSelf writes the kit of the repository that holds the copies of the
// catalog itself. What it returns is a secret; Parse reads it.
func RenderSelf(k Kit) string {
	created, insecure, port := k.Created.UTC().Format(time.RFC3339), "", ""
	if k.Location.Insecure {
		insecure = "yes"
	}
	if k.Location.Port != 0 {
		port = strconv.Itoa(k.Location.Port)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `RECOVERY KIT of this Mooring itself
made %s

With this text and the repository, an empty machine becomes the same service
again, with all vmgroups, users, policies and the keys of their repositories.
Whoever has it can read all of that. Keep it on paper or on another machine, not
beside the repository.

`, k.Created.UTC().Format("2006-01-02 15:04 UTC"))
	b.WriteString(renderBlock(k.fields(&created, &insecure, &port)))
	fmt.Fprintf(&b, `
HOW TO RECOVER

On a machine with Mooring on which mooringd does not run and has made nothing
yet. Save this text as kit.txt, readable for you only.
%s
  systemctl stop mooringd
  mooringd recover --kit=kit.txt
  systemctl start mooringd

Where mooringd was started before, move its state directory away first. The
machine that was lost must not come back: two services would be one.
`, needs(k))
	return b.String()
}
