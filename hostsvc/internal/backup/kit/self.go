package kit

import "fmt"

// RenderSelf writes the kit of the repository that holds the copies of the
// catalog itself. What it returns is a secret; Parse reads it.
func RenderSelf(k Kit) string {
	return fmt.Sprintf(`RECOVERY KIT of this Mooring itself
made %s

With this text and the repository, an empty machine becomes the same service
again, with all vmgroups, users, policies and the keys of their repositories.
Whoever has it can read all of that. Keep it on paper or on another machine, not
beside the repository.

`, k.Created.UTC().Format("2006-01-02 15:04 UTC")) + block(k) + fmt.Sprintf(`
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
}
