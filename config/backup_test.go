package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func TestBackupDefaults(t *testing.T) {
	c, err := config.Parse("x", []byte("state_dir = '/s'\n[[vmgroup]]\nname='g'\n"+
		"[[vmgroup.repository]]\nname='r'\ntype='directory'\npath='/b'\n"+
		"[[vmgroup.policy]]\nname='p'\nrepository='r'\n"+
		"[[vmgroup.policy]]\nname='q'\nrepository='r'\nvolumes=[]\nenabled=false\nschedule='weekly'\nrpo='0s'\ntimezone='UTC'\ncopy_to='far'\n"+
		"[[vmgroup.policy]]\nname='h'\nrepository='r'\nschedule=''\nverify={mode='quick'}\n"))
	require.NoError(t, err)
	assert.Equal(t, "/s/backup", c.Backup.CacheDir)
	assert.Equal(t, "/s/backup/scratch", c.Backup.ScratchDir)
	assert.Equal(t, 0.01, c.Backup.Sample)
	assert.Equal(t, config.Duration(90*24*time.Hour), c.Backup.KeepJobs)
	assert.Equal(t, config.Duration(10*time.Second), c.Backup.FreezeLease)
	assert.Empty(t, c.Notify.SMTP.Host)
	assert.Zero(t, c.Notify.SMTP.Port)

	day := 24 * time.Hour
	sampled := config.PolicyVerify{Mode: "sampled", Share: 0.1}
	assert.Equal(t, []config.Policy{
		{Name: "p", Volumes: []string{"*"}, Repository: "r", Schedule: "daily", Timezone: "Local", Overlap: "skip", RPO: config.Duration(26 * time.Hour), Verify: sampled, Consistency: "filesystem", Priority: 3, Enabled: true},
		{Name: "q", Volumes: []string{}, Repository: "r", CopyTo: "far", Schedule: "weekly", Timezone: "UTC", Overlap: "skip", Verify: sampled, Copy: config.PolicyCopy{Schedule: "weekly"}, Consistency: "filesystem", Priority: 3},
		{Name: "h", Volumes: []string{"*"}, Repository: "r", Timezone: "Local", Overlap: "skip", Verify: config.PolicyVerify{Mode: "quick"}, Consistency: "filesystem", Priority: 3, Enabled: true},
	}, c.VMGroups[0].Policies)
	for schedule, want := range map[string]time.Duration{"hourly": 3 * time.Hour, "weekly": 8 * day, "monthly": 32 * day, "yearly": 367 * day} {
		c, err := config.Parse("x", fmt.Appendf(nil, "[[vmgroup]]\nname='g'\n[[vmgroup.policy]]\nname='p'\nrepository='r'\nschedule='%s'\n", schedule))
		require.NoError(t, err)
		assert.Equal(t, config.Duration(want), c.VMGroups[0].Policies[0].RPO, schedule)
	}
}

func TestMailPorts(t *testing.T) {
	for tls, port := range map[string]int{"starttls": 587, "implicit": 465, "none": 25} {
		c, err := config.Parse("x", fmt.Appendf(nil, "[notify.smtp]\nhost='m'\ntls='%s'\nfrom='a@b'\nto=['c@d']\n", tls))
		require.NoError(t, err)
		assert.Equal(t, port, c.Notify.SMTP.Port, tls)
	}
}

// Lists below a table are joined over drop-ins, and problems in them name
// their own line.
func TestWebhooksOfDropIns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.toml")
	write(t, path, "[[notify.webhook]]\nname='a'\nurl='https://a'\nsecret_file='/a'\n")
	write(t, path+".d/10.toml", "[notify]\nrepeat='2d'\n[[notify.webhook]]\nname='b'\nurl='https://b'\nsecret_file='/b'\n")
	c, err := config.Load(path)
	require.NoError(t, err)
	require.Len(t, c.Notify.Webhooks, 2)
	assert.Equal(t, "b", c.Notify.Webhooks[1].Name)
	assert.Equal(t, config.Duration(48*time.Hour), c.Notify.Repeat)

	write(t, path+".d/20.toml", "\n\n[[notify.webhook]]\nname='c'\nurl='c'\nsecret_file='/c'\n")
	_, err = config.Load(path)
	assert.ErrorContains(t, err, path+".d/20.toml:5: notify.webhook[2].url: it is not a URL")
}

func TestProblemsOfPoliciesNameTheirLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.toml")
	write(t, path, "[[vmgroup]]\nname='a'\n[[vmgroup.policy]]\nname='p'\nrepository='r'\n[vmgroup.policy.keep]\nlast=3\n")
	write(t, path+".d/1.toml", "[[vmgroup]]\nname='b'\n[[vmgroup.policy]]\nname='p'\nrepository='r'\n[[vmgroup.policy]]\nname='q'\nrepository='r'\n[vmgroup.policy.keep]\nlast=3\ndaily=-3\n")
	_, err := config.Load(path)
	assert.ErrorContains(t, err, path+".d/1.toml:11: vmgroup[1].policy[1].keep.daily: -3 is out of range")
}

func TestZones(t *testing.T) {
	for _, name := range []string{"Local", "UTC", "Europe/Berlin", "Australia/Lord_Howe"} {
		loc, err := config.Zone(name)
		require.NoError(t, err)
		if name != "Local" {
			assert.Equal(t, name, loc.String())
		}
	}
	for _, name := range []string{"", "Berlin", "../../etc/passwd", "+01:00"} {
		_, err := config.Zone(name)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), name)
	}
	t.Setenv("TZ", "Asia/Kolkata")
	loc, err := config.Zone("Local")
	require.NoError(t, err)
	assert.Equal(t, "Asia/Kolkata", loc.String(), "Local has its real name")
	t.Setenv("TZ", "CET-1CEST")
	loc, err = config.Zone("Local")
	require.NoError(t, err)
	assert.Equal(t, time.Local, loc)
}

func TestRepositoryCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	s3 := config.Repository{Name: "far", Type: config.S3Repository, CredentialsFile: path}
	sftp := config.Repository{Name: "vault", Type: config.SFTPRepository, CredentialsFile: path}
	refused := func(r config.Repository, text, want string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := r.Credentials()
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "Sentinel")
		assert.Zero(t, got)
	}
	_, err := s3.Credentials()
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.ErrorContains(t, err, "the credentials of repository far cannot be read")
	refused(s3, "Sentinel", "is not TOML: write lines such as access_key")
	refused(s3, "access_key = 'Sentinel'", "lacks access_key and secret_key")
	refused(s3, "access_key = 'Sentinel'\nsecret_key = 1", "holds something else than strings for access_key and secret_key")
	refused(s3, "private_key = 'Sentinel'", "holds something else")
	refused(sftp, "access_key = 'Sentinel'", "for private_key or password")
	refused(sftp, "# none", "lacks private_key or password")

	require.NoError(t, os.WriteFile(path, []byte("access_key = 'a'\nsecret_key = 'b'\nsession_token = 'c'\n"), 0o600))
	got, err := s3.Credentials()
	require.NoError(t, err)
	assert.Equal(t, "abc", got.AccessKey.Reveal()+got.SecretKey.Reveal()+got.SessionToken.Reveal())
	assert.NotContains(t, fmt.Sprintf("%+v", got), "b")
	require.NoError(t, os.WriteFile(path, []byte("private_key = \"\"\"\nkey\n\"\"\"\n"), 0o600))
	got, err = sftp.Credentials()
	require.NoError(t, err)
	assert.Equal(t, "key\n", got.PrivateKey.Reveal())
	require.NoError(t, os.Chmod(path, 0o640))
	_, err = sftp.Credentials()
	assert.ErrorContains(t, err, "run chmod 0600")
	got, err = config.Repository{Type: config.DirectoryRepository}.Credentials()
	require.NoError(t, err)
	assert.Zero(t, got)
}

func TestSizesOfBackup(t *testing.T) {
	c, err := config.Load("samples/backup.toml")
	require.NoError(t, err)
	assert.Equal(t, 100*volspec.MiB, c.Backup.UploadLimit)
	assert.Equal(t, 2*volspec.TiB, c.VMGroups[0].BackupTotalSize)
	assert.Equal(t, 50*volspec.MiB, c.VMGroups[0].Policies[0].Limit)
	assert.Equal(t, config.Keep{Last: 3, Daily: 7, Weekly: 4, Monthly: 12}, c.VMGroups[0].Policies[0].Keep)
}
