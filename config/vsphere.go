package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"mooring.dev/mooring/pkg/secret"
)

// The hypervisors.
const (
	LocalHypervisor = "local"
	VSphere         = "vsphere"
)

// VSphereConfig says which vCenter or ESXi the service works with, and how
// it keeps disks there. It counts when Hypervisor is VSphere.
type VSphereConfig struct {
	URL          string `toml:"url,omitempty"`           // https://vcenter.example/sdk
	User         string `toml:"user,omitempty"`          //
	PasswordFile string `toml:"password_file,omitempty"` // read anew at every login
	CAFile       string `toml:"ca_file,omitempty"`       // who signed the server's certificate
	Thumbprint   string `toml:"thumbprint,omitempty"`    // or what it is: its SHA-256
	Datacenter   string `toml:"datacenter,omitempty"`    // needed when there are several
	Disk         string `toml:"disk,omitempty"`          // DiskFCD or DiskVMDK
	Transporter  string `toml:"transporter,omitempty"`   // the VM of the service, if content moves through it
}

// How a volume is kept on vSphere: as a first-class disk, or as a plain VMDK.
const (
	DiskFCD  = "fcd"
	DiskVMDK = "vmdk"
)

// Password reads the password of the account from its file, which others than
// its owner must not be able to read.
func (v VSphereConfig) Password() (string, error) {
	t, err := secret.ReadFile(v.PasswordFile, "the password of vsphere.user")
	if err != nil {
		return "", err
	}
	return strings.TrimRight(t.Reveal(), "\r\n"), nil
}

func (c *Config) completeVSphere() {
	if c.Hypervisor == VSphere && c.VSphere.Disk == "" {
		c.VSphere.Disk = DiskFCD
	}
}

// thumbprint is a SHA-256 in hexadecimal, in one piece or by colons.
var thumbprint = regexp.MustCompile(`^([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$`)

func (c *Config) checkVSphere(p *Problems) {
	v := c.VSphere
	if c.Hypervisor != VSphere {
		if v != (VSphereConfig{}) {
			p.add("vsphere", "this is for another hypervisor: remove it, or set hypervisor = %q", VSphere)
		}
		return
	}
	u, err := url.Parse(v.URL)
	switch {
	case v.URL == "":
		p.add("vsphere.url", "it is missing: name the vCenter, such as https://vcenter.example/sdk")
	case err != nil || u.Scheme != "https" || u.Host == "":
		p.add("vsphere.url", "%q is not the address of a vCenter: write https://HOST/sdk", v.URL)
	case u.User != nil:
		p.add("vsphere.url", "it contains a user or password: write them as vsphere.user and vsphere.password_file")
	}
	if v.User == "" {
		p.add("vsphere.user", "it is missing: name the account of the service, such as mooring@vsphere.local")
	}
	p.absolute("vsphere.password_file", v.PasswordFile)
	if v.CAFile != "" {
		p.absolute("vsphere.ca_file", v.CAFile)
	}
	if v.Thumbprint != "" && !thumbprint.MatchString(v.Thumbprint) {
		p.add("vsphere.thumbprint", "%q is not a SHA-256 thumbprint: write 32 pairs of hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them", v.Thumbprint)
	}
	if v.CAFile != "" && v.Thumbprint != "" {
		p.add("vsphere.thumbprint", "the certificate is checked by ca_file already: remove one of both")
	}
	p.oneOf("vsphere.disk", v.Disk, DiskFCD, DiskVMDK)
	if t := v.Transporter; strings.TrimSpace(t) != t || strings.Contains(t, "/") {
		p.add("vsphere.transporter", "%q is not the name of a VM: write the name alone, without folders and blanks around it, or the instance UUID", t)
	}
	for i := range c.VMs {
		p.add(fmt.Sprintf("vm[%d]", i), "vSphere knows its VMs itself: remove the section")
	}
	for i, d := range c.Datastores {
		at := fmt.Sprintf("datastore[%d]", i)
		if d.Path != "" {
			p.add(at+".path", "vSphere knows where its datastores are: remove the key, the name is that in vSphere")
		}
		if d.Size != 0 {
			p.add(at+".size", "a datastore of vSphere is not made by mooringd: remove the key")
		}
	}
}
