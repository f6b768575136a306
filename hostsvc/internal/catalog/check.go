package catalog

import (
	"context"
	"fmt"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// maxFindings bounds the length of Check's error.
const maxFindings = 20

// references lists what each query must not find.
var references = []struct{ what, query string }{
	{"members without a vmgroup", "SELECT COUNT(*) FROM members m LEFT JOIN vmgroups g ON g.id = m.group_id WHERE g.id IS NULL"},
	{"access rows without a vmgroup", "SELECT COUNT(*) FROM access_rows a LEFT JOIN vmgroups g ON g.id = a.group_id WHERE g.id IS NULL"},
	{"folders without a vmgroup", "SELECT COUNT(*) FROM vm_folders f LEFT JOIN vmgroups g ON g.id = f.group_id WHERE g.id IS NULL"},
	{"volumes without a vmgroup", "SELECT COUNT(*) FROM volumes v LEFT JOIN vmgroups g ON g.id = v.group_id WHERE g.id IS NULL"},
	{"snapshots without a volume", "SELECT COUNT(*) FROM snapshots s LEFT JOIN volumes v ON v.id = s.volume_id WHERE v.id IS NULL"},
	{"repositories without a vmgroup", "SELECT COUNT(*) FROM repositories r LEFT JOIN vmgroups g ON g.id = r.group_id WHERE g.id IS NULL AND r.group_id > ''"},
	{"repositories without a key", "SELECT COUNT(*) FROM repositories r LEFT JOIN repository_secrets s ON s.repository_id = r.id WHERE s.repository_id IS NULL"},
	{"recovery points without a repository", "SELECT COUNT(*) FROM points p LEFT JOIN repositories r ON r.id = p.repository_id WHERE r.id IS NULL"},
	{"policies without a vmgroup", "SELECT COUNT(*) FROM policies p LEFT JOIN vmgroups g ON g.id = p.group_id WHERE g.id IS NULL"},
	{"certificates without an enrolment", "SELECT COUNT(*) FROM guest_certificates c LEFT JOIN guest_vms v ON v.vm = c.vm WHERE v.vm IS NULL"},
	{"volumes in an unknown state", "SELECT COUNT(*) FROM volumes WHERE state NOT IN ('creating', 'ready', 'trashed', 'deleting')"},
	{"volumes of negative size", "SELECT COUNT(*) FROM volumes WHERE size < 0 OR op_size < 0"},
}

// Check reads the whole catalog and compares it with itself. Contradictions
// are one corrupt error that lists them; nil is a sound catalog.
func (c *Catalog) Check(ctx context.Context) error {
	var found []string
	err := c.view(ctx, func(t *tx) error {
		found = nil
		if t.dialect.check != "" {
			texts, err := list(t, word[string], t.dialect.check)
			if err != nil {
				return err
			}
			found = append(found, texts...)
		}
		for _, r := range references {
			n, err := t.count(r.query)
			if err != nil {
				return err
			}
			if n > 0 {
				found = append(found, fmt.Sprintf("%d %s", n, r.what))
			}
		}
		// Reads every record's options.
		return t.each(func(s scanner) error {
			if _, err := scanVolume(s); errkind.Is(err, errkind.Corrupt) {
				found = append(found, errkind.Text(err))
			} else if err != nil {
				return err
			}
			return nil
		}, "SELECT "+volumeCols+" FROM volumes")
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	if len(found) > maxFindings {
		found = append(found[:maxFindings], fmt.Sprintf("and %d more", len(found)-maxFindings))
	}
	return errkind.New(errkind.Corrupt,
		"the catalog (%s) contradicts itself: restore it from a copy, or move it away and rebuild it with 'mooring datastore scan --adopt': %s",
		c.dialect.place, strings.Join(found, "; "))
}
