package tenancy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"strings"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// SettingsKey is the setting that keeps those of the installation.
const SettingsKey = "installation"

// Product is the name of an installation that has none of its own.
const Product = "Mooring"

// Limits of a logo.
const (
	maxLogo      = 64 << 10
	maxLogoSide  = 2048
	logoPrefix   = "data:image/png;base64,"
	maxProduct   = 64
	maxPortalURL = 512
)

// Settings are those of the installation. One that never chose has many tenants.
func (s *Service) Settings(ctx context.Context) (v wire.Settings, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) (err error) {
		v, err = settings(tx)
		return err
	})
	return v, err
}

func settings(tx Tx) (wire.Settings, error) {
	v := wire.Settings{Product: Product, Mode: wire.ModeMulti}
	text, err := tx.Setting(SettingsKey)
	if err != nil || text == "" {
		return v, err
	}
	return v, errkind.Wrap(errkind.Corrupt, json.Unmarshal([]byte(text), &v), "the settings of the installation are damaged in the catalog")
}

// PutSettings replaces the settings of the installation. The mode becomes single
// only while there is one tenant at most; an empty one is kept.
func (s *Service) PutSettings(ctx context.Context, c volspec.Caller, v wire.Settings) (wire.Settings, error) {
	prepare := func() error {
		v.Product, v.URL = strings.TrimSpace(v.Product), strings.TrimSuffix(v.URL, "/")
		if v.Product == "" {
			v.Product = Product
		}
		return checkSettings(v)
	}
	said := v.Product
	if v.FactorRequired {
		said += " factor-required"
	}
	err := s.verb(ctx, line(ctx, c, "", "settings put", said), prepare, func(tx Tx) error {
		old, err := settings(tx)
		if err != nil {
			return err
		}
		if v.Mode == "" {
			v.Mode = old.Mode
		}
		if v.Mode == wire.ModeSingle && old.Mode != wire.ModeSingle {
			if err := oneTenant(tx); err != nil {
				return err
			}
		}
		return putSettings(tx, v)
	})
	return v, err
}

func putSettings(tx Tx, v wire.Settings) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "write the settings of the installation")
	}
	return tx.PutSetting(SettingsKey, string(text))
}

func checkSettings(v wire.Settings) error {
	if text := volspec.WrongText(v.Product, maxProduct, nil); text != "" {
		return errkind.New(errkind.Invalid, "the product's name %s", text)
	}
	if text := volspec.WrongText(v.URL, maxPortalURL, volspec.WrongWeb); text != "" {
		return errkind.New(errkind.Invalid, "the portal's url %s", text)
	}
	if v.Mode != "" {
		if err := checkMode(v.Mode); err != nil {
			return err
		}
	}
	return checkLogo(v.Logo)
}

func checkMode(mode string) error {
	if mode == wire.ModeMulti || mode == wire.ModeSingle {
		return nil
	}
	return errkind.New(errkind.Invalid, "mode %q is not valid: use %s for many tenants or %s for one", mode, wire.ModeMulti, wire.ModeSingle)
}

// checkLogo decodes the picture: what is shown to everybody must be one.
func checkLogo(logo string) error {
	if logo == "" {
		return nil
	}
	const remedy = "use a PNG of at most 64 KiB and 2048 x 2048 points"
	text, ok := strings.CutPrefix(logo, logoPrefix)
	data, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || !utf8.ValidString(logo) {
		return errkind.New(errkind.Invalid, "the logo is not a PNG in a data: URL: %s", remedy)
	}
	if len(data) > maxLogo {
		return errkind.New(errkind.Invalid, "the logo has %d KiB: %s", (len(data)+1023)>>10, remedy)
	}
	size, err := png.DecodeConfig(bytes.NewReader(data))
	if err == nil && (size.Width > maxLogoSide || size.Height > maxLogoSide) {
		return errkind.New(errkind.Invalid, "the logo has %d x %d points: %s", size.Width, size.Height, remedy)
	}
	if err == nil {
		_, err = png.Decode(bytes.NewReader(data))
	}
	if err != nil {
		return errkind.Wrap(errkind.Invalid, err, "the logo cannot be read: %s", remedy)
	}
	return nil
}

// tenants are the vmgroups that count in the mode single: all that are not
// deleted, _DEFAULT only while it is alone.
func tenants(tx Tx) (names []string, err error) {
	all, err := tx.Groups()
	for _, g := range all {
		if g.State != volspec.GroupDeleted && g.ID != volspec.DefaultGroupID {
			names = append(names, g.Name)
		}
	}
	return names, err
}

func oneTenant(tx Tx) error {
	names, err := tenants(tx)
	if err == nil && len(names) > 1 {
		err = errkind.New(errkind.InUse, "the mode cannot become single: there are %d tenants (%s); remove all but one first", len(names), shortened(names))
	}
	return err
}

// shortened lists some names and counts the rest.
func shortened(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", …"
}

// room refuses one more tenant where there may be only one.
func room(tx Tx, g volspec.VMGroup) error {
	v, err := settings(tx)
	if err != nil || v.Mode != wire.ModeSingle || g.ID == volspec.DefaultGroupID {
		return err
	}
	names, err := tenants(tx)
	if err == nil && len(names) > 0 {
		err = errkind.New(errkind.Denied, "vmgroup %s cannot be made: this installation has a single tenant, %s; switch it to many with `mooring settings set --mode=multi` first", g.Name, names[0])
	}
	return err
}
