package catalog

import (
	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const sessionCols = "hash, user_id, expires, body"

func scanSession(s scanner) (v account.Session, err error) {
	var expires int64
	var text string
	if err = s.Scan(&v.Hash, &v.User, &expires, &text); err != nil {
		return v, err
	}
	v.Expires = toTime(expires)
	return v, body(text, &v.Body, "session of user", string(v.User))
}

func (t *tx) Session(hash string) (account.Session, error) {
	v, found, err := one(t, scanSession, "SELECT "+sessionCols+" FROM sessions WHERE hash = ?", hash)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "there is no such session")
	}
	return v, err
}

func (t *tx) Sessions(user volspec.UserID) ([]account.Session, error) {
	if user == "" {
		return list(t, scanSession, "SELECT "+sessionCols+" FROM sessions ORDER BY expires, hash")
	}
	return list(t, scanSession, "SELECT "+sessionCols+" FROM sessions WHERE user_id = ? ORDER BY expires, hash", user)
}

// PutSession needs the record of the user.
func (t *tx) PutSession(s account.Session) error {
	if _, err := t.User(s.User); err != nil {
		return err
	}
	text, err := document(s.Body, "session of user", string(s.User))
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("sessions", sessionCols, "hash"), s.Hash, s.User, fromTime(s.Expires), text)
	return err
}

func (t *tx) DeleteSession(hash string) error {
	_, err := t.exec("DELETE FROM sessions WHERE hash = ?", hash)
	return err
}

const tokenCols = "id, hash, user_id, name, expires, used, body"

func scanToken(s scanner) (k account.Token, err error) {
	var expires, used int64
	var text string
	if err = s.Scan(&k.ID, &k.Hash, &k.User, &k.Name, &expires, &used, &text); err != nil {
		return k, err
	}
	k.Expires, k.Used = toTime(expires), toTime(used)
	return k, body(text, &k.Body, "token", k.Name)
}

func (t *tx) Token(hash string) (account.Token, error) {
	k, found, err := one(t, scanToken, "SELECT "+tokenCols+" FROM tokens WHERE hash = ?", hash)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "there is no such token")
	}
	return k, err
}

func (t *tx) Tokens(user volspec.UserID) ([]account.Token, error) {
	if user == "" {
		return list(t, scanToken, "SELECT "+tokenCols+" FROM tokens ORDER BY name, id")
	}
	return list(t, scanToken, "SELECT "+tokenCols+" FROM tokens WHERE user_id = ? ORDER BY name, id", user)
}

// PutToken needs the record of the user.
func (t *tx) PutToken(k account.Token) error {
	if _, err := t.User(k.User); err != nil {
		return err
	}
	n, err := t.count("SELECT COUNT(*) FROM tokens WHERE user_id = ? AND name = ? AND id <> ?", k.User, k.Name, k.ID)
	if err != nil {
		return err
	}
	if n > 0 {
		return errkind.New(errkind.Exists, "a token %s exists already: choose another name, or remove that one", k.Name)
	}
	text, err := document(k.Body, "token", k.Name)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("tokens", tokenCols, "id"), k.ID, k.Hash, k.User, k.Name, fromTime(k.Expires), fromTime(k.Used), text)
	return err
}

func (t *tx) DeleteToken(id string) error {
	_, err := t.exec("DELETE FROM tokens WHERE id = ?", id)
	return err
}
