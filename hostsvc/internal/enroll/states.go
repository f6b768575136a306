package enroll

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// States that somebody should do something about.
const (
	Refused = "refused: " + copied
	Expired = "expired"
)

// States describes in words where each VM stands that has, or had, a
// certificate or an open code.
func (s *Service) States(ctx context.Context) (map[volspec.VMID]string, error) {
	out := map[volspec.VMID]string{}
	err := s.o.Store.View(ctx, func(tx Tx) error {
		clear(out)
		vms, err := tx.GuestVMs()
		if err != nil {
			return err
		}
		certs, err := tx.GuestCertificates("")
		if err != nil {
			return err
		}
		codes, err := tx.GuestCodes()
		if err != nil {
			return err
		}
		expires := map[volspec.VMID]time.Time{}
		generation := map[volspec.VMID]int64{}
		for _, v := range vms {
			generation[v.ID] = v.Generation
		}
		for _, c := range certs { // the newest is the last
			if !c.Replaced && c.Generation == generation[c.VM] {
				expires[c.VM] = c.Expires
			}
		}
		for _, c := range codes {
			if s.o.Now().Before(c.Expires) {
				out[c.VM] = "invited until " + clock(c.Expires)
			}
		}
		for _, v := range vms {
			until := expires[v.ID]
			switch {
			case v.Refused != "":
				out[v.ID] = "refused: " + v.Refused
			case v.Revoked && out[v.ID] == "":
				out[v.ID] = "revoked"
			case v.Revoked: // and invited again
			case s.o.Now().Before(until):
				out[v.ID] = "until " + clock(until)
			case out[v.ID] == "":
				out[v.ID] = Expired
			}
		}
		return nil
	})
	return out, err
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
