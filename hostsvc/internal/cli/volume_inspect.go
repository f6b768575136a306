package cli

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) volumeInspect() *cobra.Command {
	var which volumeFlags
	cmd := &cobra.Command{
		Use:               "inspect [VMGROUP/]VOLUME",
		Short:             "Show everything about a volume",
		ValidArgsFunction: first(t.complete(which.names)),
		RunE: t.onVolume(&which, 0, "", func(cmd *cobra.Command, admin Admin, o object, _ []string) error {
			v, err := admin.Volume(cmd.Context(), o.group, o.volume)
			if err != nil {
				return err
			}
			return t.object(v, qualified(v), describe(v))
		}),
	}
	which.register(t, cmd, which.names)
	return cmd
}

// describe prints a volume as one fact on a line.
func describe(v wire.Volume) string {
	attached := cmp.Or(v.AttachedTo, detached)
	if v.AttachedTo != "" {
		attached += ", " + v.AttachState
		if !v.AttachedAt.IsZero() {
			attached += " since " + moment(v.AttachedAt)
		}
	}
	facts := [][2]string{
		{"Volume", v.Volume},
		{"Datastore", v.Datastore},
		{"VMGroup", v.VMGroup},
		{"Uuid", string(v.ID)},
		{"Serial", v.Serial},
		{"State", string(v.State)},
		{"Health", cmp.Or(v.Health, "ok")},
		{"Capacity", volspec.Size(v.SizeBytes).String()},
		{"Used", volspec.Size(v.UsedBytes).Table()},
		{"Disk", string(v.Format)},
		{"Options", pairs(v.Spec.Options())},
		{"Attached to", attached},
		{"Snapshots", strconv.Itoa(v.Snapshots)},
		{"Created", moment(v.Created) + " by " + v.CreatedBy},
	}
	if v.UsedBytes == 0 {
		facts[8][1] = "0.00B"
	}
	if v.FSBytes > 0 {
		facts = append(facts, [2]string{"Filesystem size", volspec.Size(v.FSBytes).String()})
	}
	if v.FSNote != "" {
		facts = append(facts, [2]string{"Filesystem note", v.FSNote})
	}
	if v.CloneFrom != "" {
		facts = append(facts, [2]string{"Clone of", v.CloneFrom})
	}
	if v.ViewOf != "" {
		facts = append(facts, [2]string{"Shows point", string(v.ViewOf)})
	}
	if v.Backup != nil {
		facts = append(facts, backupFacts(*v.Backup)...)
	}
	if !v.TrashedAt.IsZero() {
		facts = append(facts, [2]string{"Removed", moment(v.TrashedAt)}, [2]string{"Kept until", moment(v.PurgeAfter)})
	}
	return lines(facts)
}

// backupFacts say what protects a volume.
func backupFacts(b wire.VolumeBackup) [][2]string {
	last := "none"
	if !b.LastSuccess.IsZero() {
		last = moment(b.LastSuccess)
		if b.LastPoint != "" {
			last += ", point " + b.LastPoint
		}
	}
	return [][2]string{{"Backup", b.State}, {"Backup policy", cmp.Or(b.Policy, "none")}, {"Last backup", last}}
}

// lines aligns facts behind their names.
func lines(facts [][2]string) string {
	width := 0
	for _, f := range facts {
		width = max(width, utf8.RuneCountInString(f[0]))
	}
	var b strings.Builder
	for _, f := range facts {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s  %s", width+1, f[0]+":", clean(f[1], false)), " ") + "\n")
	}
	return b.String()
}

func (t *tool) volumeDoctor() *cobra.Command {
	var which volumeFlags
	cmd := &cobra.Command{
		Use:               "doctor [VMGROUP/]VOLUME",
		Short:             "Check one volume and say what to do about it",
		Long:              `Checks one volume. The exit code is 1 when something is wrong with it.`,
		ValidArgsFunction: first(t.complete(which.names)),
		RunE: t.onVolume(&which, 0, "", func(cmd *cobra.Command, admin Admin, o object, _ []string) error {
			v, err := admin.Volume(cmd.Context(), o.group, o.volume)
			if err != nil {
				return err
			}
			stores, err := admin.Datastores(cmd.Context())
			if err != nil {
				return err
			}
			return t.findings(examine(v, stores))
		}),
	}
	which.register(t, cmd, which.names)
	return cmd
}

// examine judges a volume by what the service knows of it and its datastore.
func examine(v wire.Volume, stores []wire.Datastore) []wire.Finding {
	var found []wire.Finding
	add := func(level, check, detail, remedy string) {
		found = append(found, wire.Finding{Level: level, Check: check, Detail: detail, Remedy: remedy})
	}
	add(levelOK, "state", "the volume is "+string(v.State), "")
	switch v.State {
	case volspec.Creating:
		found[0] = wire.Finding{Level: levelWarning, Check: "state", Detail: "the volume is still being created",
			Remedy: "wait; after a crash the service undoes it by itself"}
	case volspec.Trashed:
		found[0] = wire.Finding{Level: levelWarning, Check: "state", Detail: "the volume is in the trash until " + moment(v.PurgeAfter),
			Remedy: "mooring volume undelete " + qualified(v)}
	}
	if v.Health == "" || v.Health == "ok" {
		add(levelOK, "disk", fmt.Sprintf("%s, %s", volspec.Size(v.SizeBytes), v.Format), "")
	} else {
		add(levelError, "disk", v.Health, "mooring datastore scan "+v.Datastore)
	}
	level, detail, remedy := levelError, "datastore "+v.Datastore+" is not configured any more", "add it to the configuration of mooringd again"
	for _, d := range stores {
		if d.Name == v.Datastore {
			level, detail, remedy = datastoreState(d)
		}
	}
	add(level, "datastore", detail, remedy)
	switch v.AttachState {
	case "attaching", "detaching":
		add(levelWarning, "attachment", fmt.Sprintf("%s: the volume is %s", cmp.Or(v.AttachedTo, "no VM"), v.AttachState), "wait; if it stays so, mooring volume detach --force "+qualified(v))
	default:
		add(levelOK, "attachment", cmp.Or(v.AttachedTo, detached), "")
	}
	if v.FSNote != "" {
		add(levelWarning, "filesystem", v.FSNote, "mount the volume again")
	}
	return found
}

func datastoreState(d wire.Datastore) (level, detail, remedy string) {
	detail = fmt.Sprintf("datastore %s is %s", d.Name, d.State)
	if d.Detail != "" {
		detail += ": " + d.Detail
	}
	switch d.State {
	case "online":
		return levelOK, detail, ""
	case "read-only":
		return levelWarning, detail, "make " + d.Path + " writable"
	}
	return levelError, detail, "bring " + d.Path + " back"
}

// Levels of findings.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelError   = "error"
)

var findingColumns = []column[wire.Finding]{
	{header: "Level", value: func(f wire.Finding) string { return f.Level }},
	{header: "Check", value: func(f wire.Finding) string { return f.Check }},
	{header: "Detail", value: func(f wire.Finding) string { return f.Detail }},
	{header: "Remedy", value: func(f wire.Finding) string { return f.Remedy }},
}

// findings prints what a doctor found; errors among it fail the command.
func (t *tool) findings(found []wire.Finding) error {
	if err := list(t, found, findingColumns, func(f wire.Finding) string { return f.Check }); err != nil {
		return err
	}
	bad := 0
	for _, f := range found {
		if f.Level == levelError {
			bad++
		}
	}
	if bad > 0 {
		return errkind.New(errkind.Corrupt, "%s found: see the remedies", count(bad, "error"))
	}
	return nil
}
