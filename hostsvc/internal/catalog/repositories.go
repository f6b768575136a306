package catalog

import (
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const repoCols = "id, group_id, name, state, place, stored, reserved, body"

func scanRepo(s scanner) (r backup.Repo, err error) {
	var text string
	var reserved int64
	if err = s.Scan(&r.ID, &r.Group, &r.Name, &r.State, &r.Place, &r.Stored, &reserved, &text); err != nil {
		return r, err
	}
	return r, body(text, &r.Body, "repository", r.Name)
}

func (t *tx) Repositories(g volspec.VMGroupID) ([]backup.Repo, error) {
	if g == "" {
		return list(t, scanRepo, "SELECT "+repoCols+" FROM repositories ORDER BY group_id, name")
	}
	return list(t, scanRepo, "SELECT "+repoCols+" FROM repositories WHERE group_id = ? ORDER BY name", g)
}

func (t *tx) RepositoryByName(g volspec.VMGroupID, name string) (backup.Repo, error) {
	r, found, err := one(t, scanRepo, "SELECT "+repoCols+" FROM repositories WHERE group_id = ? AND name = ?", g, name)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Repository %s not found", name)
	}
	return r, err
}

func (t *tx) Repository(id volspec.RepositoryID) (backup.Repo, error) {
	r, found, err := one(t, scanRepo, "SELECT "+repoCols+" FROM repositories WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Repository %s not found", id)
	}
	return r, err
}

func (t *tx) PutRepository(r backup.Repo) error {
	for _, c := range []struct {
		taken, query string
		args         []any
	}{
		{"a repository " + r.Name + " exists already: choose another name", "SELECT COUNT(*) FROM repositories WHERE group_id = ? AND name = ? AND id <> ?", []any{r.Group, r.Name, r.ID}},
		{"the place of repository " + r.Name + " is in use by another repository: each needs a place of its own", "SELECT COUNT(*) FROM repositories WHERE place = ? AND id <> ?", []any{r.Place, r.ID}},
	} {
		n, err := t.count(c.query, c.args...)
		if err != nil {
			return err
		}
		if n > 0 {
			return errkind.New(errkind.Exists, "%s", c.taken)
		}
	}
	if r.Group != "" {
		if _, err := t.group(r.Group); err != nil {
			return err
		}
	}
	text, err := document(r.Body, "repository", r.Name)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("repositories", repoCols, "id"), r.ID, r.Group, r.Name, r.State, r.Place, r.Stored, 0, text)
	return err
}

func (t *tx) AddStored(id volspec.RepositoryID, bytes int64) error {
	_, err := t.exec("UPDATE repositories SET stored = stored + ? WHERE id = ?", bytes, id)
	return err
}

func (t *tx) DeleteRepository(id volspec.RepositoryID) error {
	if err := t.dropPoints(id); err != nil {
		return err
	}
	for _, statement := range []string{
		"DELETE FROM bases WHERE repository_id = ?",
		"DELETE FROM repository_secrets WHERE repository_id = ?",
		"DELETE FROM repositories WHERE id = ?",
	} {
		if _, err := t.exec(statement, id); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Sealed(id volspec.RepositoryID) (string, error) {
	v, found, err := one(t, word[string], "SELECT sealed FROM repository_secrets WHERE repository_id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "the catalog holds no key of repository %s: attach it again with its recovery kit", id)
	}
	return v, err
}

func (t *tx) PutSealed(id volspec.RepositoryID, sealed string) error {
	_, err := t.exec(upsert("repository_secrets", "repository_id, sealed", "repository_id"), id, sealed)
	return err
}

func (t *tx) AllSealed() (map[volspec.RepositoryID]string, error) {
	all := map[volspec.RepositoryID]string{}
	err := t.each(func(s scanner) error {
		var id volspec.RepositoryID
		var sealed string
		if err := s.Scan(&id, &sealed); err != nil {
			return err
		}
		all[id] = sealed
		return nil
	}, "SELECT repository_id, sealed FROM repository_secrets")
	return all, err
}

func (t *tx) StoredBy(g volspec.VMGroupID) (int64, error) {
	n, _, err := one(t, word[int64], "SELECT CAST(COALESCE(SUM(stored), 0) AS BIGINT) FROM repositories WHERE group_id = ?", g)
	return n, err
}

// RepositoryNames lists a vmgroup's repositories.
func (t *tx) RepositoryNames(g volspec.VMGroupID) ([]string, error) {
	return list(t, word[string], "SELECT name FROM repositories WHERE group_id = ? ORDER BY name", g)
}
