package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// as is a command in the name of somebody who has logged in.
func as(p person, words ...string) []string {
	return append([]string{"mooring", "--context=" + p.name}, words...)
}

// logIn is how somebody does that.
func logIn(portal string, p person) step {
	words := mooring("--server="+portal, "--context="+p.name, "login")
	who := p.name
	if p.tenant != "" {
		words, who = append(words, "--tenant="+p.tenant), p.tenant+"/"+p.name
	}
	return step{
		run:  append(words, "--user="+p.name, "--password-file="+p.passwordFile(), "--ca-file="+authority()),
		want: []string{"Logged in to " + portal + " as " + who},
	}
}

// firstAdministrator lets the provider in.
func firstAdministrator(config string) chapter {
	p := people[0]
	return chapter{"The first administrator", []step{
		{say: "Passwords here are generated and are told at the end.",
			run:  []string{"mooringd", "init", "--config=" + config, "--mode=multi", "--user=" + p.name, "--password-file=" + p.passwordFile()},
			want: []string{"User admin is the first administrator."}},
		{say: "There is one first administrator and no second.", fails: true,
			run:  []string{"mooringd", "init", "--config=" + config, "--user=eve", "--password-file=" + p.passwordFile()},
			want: []string{"users already (admin)"}},
	}}
}

// delegation is what the provider settles for both tenants.
func delegation() chapter {
	dana, tess := people[1], people[2]
	user := func(p person) step {
		return step{
			run:  mooring("user", "create", p.name, "--vmgroup="+p.tenant, "--role="+p.role, "--password-file="+p.passwordFile()),
			want: []string{p.name},
		}
	}
	return chapter{"Third act: the teams become tenants who help themselves", []step{
		{say: "What the service may hand out, and what each team gets of it.",
			run: mooring("allowance", "pool", "set", "--volumes=10", "--storage=20GB"), want: []string{"10"}},
		{run: mooring("vmgroup", "allowance", "set", "--name="+dana.tenant, "--volumes=6", "--storage=10GB"), want: []string{"6"}},
		{say: "Not more than there is.", fails: true,
			run: mooring("vmgroup", "allowance", "set", "--name="+tess.tenant, "--volumes=5"), want: []string{"4"}},
		{run: mooring("vmgroup", "allowance", "set", "--name="+tess.tenant, "--volumes=4", "--storage=10GB"), want: []string{"4"}},
		{run: mooring("allowance", "pool", "show"), want: []string{"10"}},
		user(dana), user(tess),
	}}
}

// selfService is what a tenant does alone, and what it cannot.
func selfService(portal string) chapter {
	var foreign string
	admin, dana, tess := people[0], people[1], people[2]
	const mine = "Product1Test/MyVolume@datastore3"
	return chapter{"A tenant over HTTPS", []step{
		logIn(portal, tess),
		{run: as(tess, "whoami"), want: []string{"Product1Test/tess (tenant-admin)"}},
		{run: as(tess, "volume", "ls"), want: []string{"MyVolume", "Product1Test"}, not: []string{"Product1Dev"}},
		{say: "The testers have no place for backups yet.", fails: true,
			run: as(tess, "backup", "run", mine), want: []string{"Your service is not configured", "a repository"}},
		{say: "The provider gives them one.",
			run: mooring("repository", "create", "Product1Test/vault", "--type=directory", "--path="+filepath.Join(homeDir, "backups", "test")), want: []string{"vault"}},
		{run: as(tess, "backup", "run", mine), want: []string{"done"}},
		{run: as(tess, "backup", "ls"), want: []string{"MyVolume@datastore3", "completed"}},
		{say: "The developers' vmgroup and one that is not there get the same answer. What only\nthe provider may, the testers' administrator may not.", fails: true,
			run:  as(tess, "vmgroup", "allowance", "show", "--name=Product1Dev"),
			want: []string{"Product1Dev does not exist"}, check: func(a string) error { foreign = a; return nil }},
		{fails: true, run: as(tess, "vmgroup", "allowance", "show", "--name=NoSuch"), check: func(a string) error {
			if strings.ReplaceAll(a, "NoSuch", "Product1Dev") != foreign {
				return fmt.Errorf("it differs from that for a foreign vmgroup: %s", foreign)
			}
			return nil
		}},
		{fails: true, run: as(tess, "vmgroup", "allowance", "set", "--name=Product1Test", "--volumes=9"), want: []string{"Error: "}},
		logIn(portal, dana),
		{say: "All that the nightly policy protects, now.",
			run: as(dana, "backup", "policy", "run", "nightly"), want: []string{"OnlyDev@datastore3", "done"}},
		{run: as(dana, "backup", "status"), want: []string{"3 protected"}, not: []string{"Product1Test"}},
		logIn(portal, admin),
		{say: "The provider sees both. The lost volume counts as long as it has recovery points.", run: as(admin, "allowance", "pool", "show"), want: []string{"volumes  10       10         5"}},
		{say: "Nobody changes what the audit log says.", run: mooring("audit", "verify"), want: []string{"Product1Dev   yes", "Product1Test  yes"}, not: []string{"  no "}},
	}}
}
