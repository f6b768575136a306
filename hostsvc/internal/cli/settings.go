package cli

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) settingsCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "settings",
		Short: "Show and change the settings of the installation",
	}, t.settingsShow(), t.settingsSet())
}

func (t *tool) settingsShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the name of the product, the logo, the mode and the portal's address",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			v, err := admin.Settings(cmd.Context())
			if err != nil {
				return err
			}
			return t.settings(v)
		}),
	}
}

func (t *tool) settings(v wire.Settings) error {
	logo := "none"
	if v.Logo != "" {
		logo = "a PNG"
	}
	text := fmt.Sprintf("Product: %s\nLogo:    %s\nMode:    %s\nFactor:  %s\nURL:     %s", clean(v.Product, false), logo, v.Mode, requiredOrNot(v.FactorRequired), clean(v.URL, false))
	return t.object(v, v.Product, strings.TrimRight(text, " ")+"\n")
}

// maxLogo bounds what is read of a file; the service says what it takes.
const maxLogo = 150 << 10

func (t *tool) settingsSet() *cobra.Command {
	var product, logo, mode, url string
	var factor bool
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change the settings of the installation",
		Example: `  mooring settings set --product='Harbour Backup' --url=https://backup.example.com
  mooring settings set --mode=single`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			v, err := admin.Settings(cmd.Context())
			if err != nil {
				return err
			}
			override(cmd, "product", &v.Product, product)
			override(cmd, "mode", &v.Mode, mode)
			override(cmd, "url", &v.URL, url)
			override(cmd, "require-second-factor", &v.FactorRequired, factor)
			if cmd.Flags().Changed("logo") {
				if v.Logo, err = logoOf(logo); err != nil {
					return err
				}
			}
			if v, err = admin.PutSettings(cmd.Context(), v); err != nil {
				return err
			}
			return t.settings(v)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&product, "product", "", "`name` in the portal and in mails")
	f.StringVar(&logo, "logo", "", "PNG `file` of at most 64 KiB; \"\" for none")
	f.StringVar(&mode, "mode", "", "multi for many tenants, single for one")
	f.StringVar(&url, "url", "", "address of the portal, for links in mails, a `URL`")
	f.BoolVar(&factor, "require-second-factor", false, "require a second factor of the master's users who have a password")
	return cmd
}

// logoOf reads a picture as the service takes it.
func logoOf(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxLogo {
		return "", errkind.New(errkind.Invalid, "the logo %s has %d KiB: use a PNG of at most 64 KiB", path, st.Size()>>10)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", errkind.Wrap(errkind.Invalid, err, "the logo cannot be read")
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(data), nil
}
