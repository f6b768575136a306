package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// maxSocketPath is what the kernel accepts, without the final zero byte.
const maxSocketPath = 107

// Validate checks a complete configuration, as Load does. It looks at no
// file. The error is of kind invalid and its cause is a Problems.
func (c *Config) Validate() error {
	if p := c.check(); len(p) > 0 {
		p.sort()
		return invalid("", p)
	}
	return nil
}

func (c *Config) check() Problems {
	var p Problems
	c.checkService(&p)
	c.checkVSphere(&p)
	c.checkDatastores(&p)
	c.checkVMs(&p)
	c.checkSockets(&p)
	c.checkVMGroups(&p)
	c.checkBackup(&p)
	c.checkPolicies(&p)
	c.checkNotify(&p)
	c.checkGuest(&p)
	c.checkHTTPS(&p)
	c.checkTransporter(&p)
	return p
}

func (c *Config) checkService(p *Problems) {
	p.absolute("state_dir", c.StateDir)
	p.absolute("run_dir", c.RunDir)
	p.oneOf("hypervisor", c.Hypervisor, LocalHypervisor, VSphere)
	p.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	p.oneOf("log.format", c.Log.Format, "json", "text", "auto")
	p.oneOf("catalog.driver", c.Catalog.Driver, SQLite, Postgres)
	switch c.Catalog.Driver {
	case SQLite:
		if !follows(c.Catalog.Path, c.StateDir) {
			p.absolute("catalog.path", c.Catalog.Path)
		}
		if c.Catalog.DSNFile != "" {
			p.add("catalog.dsn_file", "this is for driver postgres: remove it, or set catalog.driver = %q", Postgres)
		}
	case Postgres:
		if c.Catalog.DSNFile == "" {
			p.add("catalog.dsn_file", "driver postgres needs it: name a file that holds the connection string")
		} else {
			p.absolute("catalog.dsn_file", c.Catalog.DSNFile)
		}
		if c.Catalog.Path != "" {
			p.add("catalog.path", "this is for driver sqlite: remove it, or set catalog.driver = %q", SQLite)
		}
	}
	if l := c.Metrics.Listen; l != "" && !isAddress(l) {
		p.add("metrics.listen", "%q is not an address: write host:port, such as 127.0.0.1:9640", l)
	}
	p.between("volume.reconcile", c.Volume.Reconcile, time.Second, time.Hour)
	p.between("volume.attach_wait", c.Volume.AttachWait, 0, time.Minute)
	p.between("tenant_grace", c.TenantGrace, 0, 365*24*time.Hour)
	if k := c.Volume.TrashKeep; k != 0 {
		p.between("volume.trash_keep", k, time.Second, 10*365*24*time.Hour)
	}
}

func (c *Config) checkDatastores(p *Problems) {
	names := map[string]int{}
	for i, d := range c.Datastores {
		at := fmt.Sprintf("datastore[%d]", i)
		p.name(at+".name", d.Name, names, i, volspec.CheckDatastoreName)
		if c.Hypervisor == VSphere || !p.absolute(at+".path", d.Path) {
			continue
		}
		if filepath.Clean(d.Path) == "/" {
			p.add(at+".path", "a datastore cannot be the root folder: name a folder of its own")
			continue
		}
		if d.Size != 0 && d.Size < MinDatastore {
			p.add(at+".size", "%s is too small for a managed datastore: write %s or more", d.Size, MinDatastore)
		}
		for j, other := range c.Datastores[:i] {
			if inside(d.Path, other.Path) || inside(other.Path, d.Path) {
				p.add(at+".path", "%s overlaps with %s of datastore %q (datastore[%d]): datastores must not lie in each other", d.Path, other.Path, other.Name, j)
			}
		}
	}
}

func (c *Config) checkVMs(p *Problems) {
	names := map[string]int{}
	for i, vm := range c.VMs {
		at := fmt.Sprintf("vm[%d]", i)
		p.name(at+".name", vm.Name, names, i, volspec.CheckVMName)
		c.knownDatastore(p, at+".datastore", vm.Datastore)
		p.absolute(at+".dev", vm.Dev)
		if vm.InitPIDFile != "" {
			p.absolute(at+".init_pid_file", vm.InitPIDFile)
		}
	}
}

// checkSockets sees that no two listeners want the same path.
func (c *Config) checkSockets(p *Problems) {
	taken := map[string]string{}
	claim := func(at, path string) {
		if follows(path, c.RunDir) || !p.absolute(at, path) {
			return
		}
		if len(path) > maxSocketPath {
			p.add(at, "the path has %d bytes, a socket's may have %d: choose a shorter run_dir or name the socket", len(path), maxSocketPath)
		}
		path = filepath.Clean(path)
		if other, dup := taken[path]; dup {
			p.add(at, "%s is already the socket of %s: each needs its own", path, other)
		}
		taken[path] = strings.TrimSuffix(at, ".socket")
	}
	claim("admin.socket", c.Admin.Socket)
	names := map[string]bool{"": true}
	for i, vm := range c.VMs {
		// A missing or repeated name is reported already, and its default socket
		// follows from it.
		if !names[vm.Name] {
			claim(fmt.Sprintf("vm[%d].socket", i), vm.Socket)
		}
		names[vm.Name] = true
	}
}

func (c *Config) checkVMGroups(p *Problems) {
	names, owners := map[string]int{}, map[string]string{}
	var granted []volspec.FolderGrant // Group is the name here
	for i, g := range c.VMGroups {
		at := fmt.Sprintf("vmgroup[%d]", i)
		p.name(at+".name", g.Name, names, i, volspec.CheckVMGroupName)
		if err := volspec.CheckContact(g.Contact()); err != nil {
			p.add(at, "%s", errkind.Text(err))
		}
		if g.State != "" && g.State != Enabled && g.State != Disabled {
			p.add(at+".state", "%q is not valid: use %q or %q", g.State, Enabled, Disabled)
		}
		switch {
		case g.DefaultDatastore == volspec.AllDatastores:
			p.add(at+".default_datastore", "Cannot use %s as default datastore. Please use specific datastore name or %s special datastore", volspec.AllDatastores, volspec.VMDatastore)
		case g.DefaultDatastore != "" && g.DefaultDatastore != volspec.VMDatastore:
			c.knownDatastore(p, at+".default_datastore", g.DefaultDatastore)
		}
		granted = append(granted, c.checkFolders(p, at, g, granted)...)
		checkDelegated(p, at, g)
		if g.Name == volspec.DefaultGroup && len(g.VMs) > 0 {
			p.add(at+".vms", "%s has no list of VMs, every VM without a vmgroup belongs to it: remove the key", volspec.DefaultGroup)
			continue
		}
		for j, vm := range g.VMs {
			at := fmt.Sprintf("%s.vms[%d]", at, j)
			if c.Hypervisor != VSphere && !slices.ContainsFunc(c.VMs, func(v VM) bool { return v.Name == vm }) {
				p.add(at, "VM %q is not declared: declare it with [[vm]], or correct the name", vm)
			}
			if owner, dup := owners[vm]; dup {
				p.add(at, "VM %q is already in vmgroup %q: a VM is in one vmgroup, once", vm, owner)
			}
			owners[vm] = g.Name
		}
		c.checkAccess(p, at, g.Access)
	}
}

// checkDelegated checks the allowance of a vmgroup and the names of its
// transporters. Which of these there are only the service knows.
func checkDelegated(p *Problems, at string, g VMGroup) {
	if g.Allowance != nil {
		check := func(key string, n *int) {
			if n != nil && *n < 0 {
				p.add(at+".allowance."+key, "%d is not valid: write a number from 0, or remove the key for no bound", *n)
			}
		}
		check("sockets", g.Allowance.Sockets)
		check("vms", g.Allowance.VMs)
		check("volumes", g.Allowance.Volumes)
	}
	for i, name := range g.Transporters {
		at := fmt.Sprintf("%s.transporters[%d]", at, i)
		if !transporterName.MatchString(name) {
			p.add(at, "%q is not a name of a transporter: write one that `mooring transporter ls` lists, such as %s", clip(name), BuiltIn)
		}
		if slices.Contains(g.Transporters[:i], name) {
			p.add(at, "transporter %q is there twice: remove one", clip(name))
		}
	}
}

// checkFolders checks the folders of a vmgroup among themselves and against those
// granted before. Relative and absolute paths can be compared by the service
// only, which knows where the relative ones begin.
func (c *Config) checkFolders(p *Problems, at string, g VMGroup, granted []volspec.FolderGrant) (own []volspec.FolderGrant) {
	at += ".vm_folders"
	switch {
	case len(g.Folders) == 0:
		return nil
	case c.Hypervisor != VSphere:
		p.add(at, "only vSphere has folders of VMs: name the VMs with vms")
		return nil
	case g.Name == volspec.DefaultGroup:
		p.add(at, "%s is granted no folders, every VM that is in none belongs to it: remove the key", volspec.DefaultGroup)
		return nil
	}
	for i, folder := range g.Folders {
		at := fmt.Sprintf("%s[%d]", at, i)
		f, err := volspec.ParseFolder(folder)
		if err != nil {
			p.add(at, "%s", errkind.Text(err))
			continue
		}
		for _, have := range granted {
			if have.Folder.Overlaps(f) {
				p.add(at, "folder %q overlaps with %q of vmgroup %q: a VM is in the scope of one vmgroup", folder, have.Folder, have.Group)
			}
		}
		if slices.ContainsFunc(own, func(have volspec.FolderGrant) bool { return have.Folder == f }) {
			p.add(at, "folder %q is there twice: remove one", folder)
		}
		own = append(own, volspec.FolderGrant{Group: volspec.VMGroupID(g.Name), Folder: f})
	}
	return own
}

func (c *Config) checkAccess(p *Problems, group string, rows []Access) {
	seen := map[string]int{}
	for i, a := range rows {
		at := fmt.Sprintf("%s.access[%d]", group, i)
		if a.Datastore != volspec.AllDatastores && a.Datastore != volspec.VMDatastore {
			c.knownDatastore(p, at+".datastore", a.Datastore)
		}
		if j, dup := seen[a.Datastore]; dup && a.Datastore != "" {
			p.add(at+".datastore", "%q already has a row (access[%d]): write one row per datastore", a.Datastore, j)
		}
		seen[a.Datastore] = i
		if a.MaxSize > 0 && a.TotalSize > 0 && a.MaxSize > a.TotalSize {
			p.add(at+".volume_maxsize", "%s exceeds volume_totalsize %s: one volume cannot be larger than all of them", a.MaxSize, a.TotalSize)
		}
	}
}

func (c *Config) knownDatastore(p *Problems, at, name string) {
	switch {
	case name == "":
		p.add(at, "it is missing: name a datastore")
	case c.Hypervisor == VSphere && len(c.Datastores) == 0: // all that vCenter has
	case !slices.ContainsFunc(c.Datastores, func(d Datastore) bool { return d.Name == name }):
		p.add(at, "datastore %q is not declared: declare it with [[datastore]], or correct the name", name)
	}
}

// name checks a name and that no earlier element of its list has it.
func (p *Problems) name(at, name string, seen map[string]int, i int, check func(string) error) {
	if name == "" {
		p.add(at, "it is missing: every element of the list has a name")
		return
	}
	if err := check(name); err != nil {
		p.add(at, "%s", err)
		return
	}
	if j, dup := seen[name]; dup {
		list := at[:strings.LastIndexByte(at, '[')]
		p.add(at, "%q is already the name of %s[%d]: names are unique", name, list, j)
		return
	}
	seen[name] = i
}

func (p *Problems) absolute(at, path string) bool {
	switch {
	case path == "":
		p.add(at, "it is missing: write an absolute path")
	case !filepath.IsAbs(path):
		p.add(at, "%q is a relative path: write an absolute one", path)
	case strings.ContainsRune(path, 0):
		p.add(at, "%q contains a zero byte: write a path", path)
	default:
		return true
	}
	return false
}

func (p *Problems) oneOf(at, value string, valid ...string) {
	if !slices.Contains(valid, value) {
		p.add(at, "%q is not known: valid are %s", value, strings.Join(valid, ", "))
	}
}

func (p *Problems) between(at string, d Duration, lo, hi time.Duration) {
	if v := time.Duration(d); v < lo || v > hi {
		p.add(at, "%s is out of range: from %s to %s", d, Duration(lo), Duration(hi))
	}
}

// follows reports whether path is relative only because dir, from which it
// was made, is.
func follows(path, dir string) bool {
	return !filepath.IsAbs(dir) && strings.HasPrefix(path, dir+"/")
}

// inside reports whether path is dir or lies below it.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
