package kit_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var made = time.Date(2026, 11, 25, 2, 30, 0, 0, time.UTC)

const key = "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567-abcd-efgh-ijkl-mnop-qrst"

var samples = map[string]kit.Kit{
	"directory": {
		Repository: "4c7b1c9e-5f0a-4f6e-9d0e-1a2b3c4d5e6f", Name: "near", Tenant: "shop", Unique: "00112233445566778899aabbccddeeff", Created: made, Key: key,
		Location: repository.Location{Type: repository.Directory, Path: "/srv/backup/it's here"},
	},
	"s3": {
		Repository: "4c7b1c9e-5f0a-4f6e-9d0e-1a2b3c4d5e6f", Name: "far", Tenant: "shop", Created: made, Key: key,
		Location: repository.Location{Type: repository.S3, Endpoint: "s3.example.com:9000", Region: "eu-1", Bucket: "mooring", Prefix: "shop",
			CAFile: "/etc/mooring/s3-ca.pem"},
		Credentials: repository.Credentials{AccessKey: "AKIA", SecretKey: "a/b+c=", SessionToken: "t"},
	},
	"s3-without-credentials": {
		Repository: "4c7b1c9e-5f0a-4f6e-9d0e-1a2b3c4d5e6f", Name: "far", Tenant: "shop", Created: made, Key: key,
		Location: repository.Location{Type: repository.S3, Endpoint: "127.0.0.1:9000", Bucket: "mooring", Insecure: true},
	},
	"sftp": {
		Repository: "4c7b1c9e-5f0a-4f6e-9d0e-1a2b3c4d5e6f", Name: "vault", Tenant: "archive", Created: made, Key: key,
		Location: repository.Location{Type: repository.SFTP, Host: "vault.example.com", Port: 2222, User: "mooring", Path: "/backup",
			HostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"},
		Credentials: repository.Credentials{PrivateKey: "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"},
	},
	"sftp-password": {
		Repository: "4c7b1c9e-5f0a-4f6e-9d0e-1a2b3c4d5e6f", Name: "vault", Tenant: "archive", Created: made, Key: key,
		Location:    repository.Location{Type: repository.SFTP, Host: "vault", User: "mooring", Path: "/backup", HostKey: "ssh-ed25519 AAAA"},
		Credentials: repository.Credentials{Password: " p'w "},
	},
}

func TestTexts(t *testing.T) {
	for name, k := range samples {
		t.Run(name, func(t *testing.T) {
			text := kit.Render(k)
			path := "testdata/" + name + ".golden"
			if os.Getenv("UPDATE") != "" {
				require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			}
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, string(b), text)
			got, err := kit.Parse(string(b))
			require.NoError(t, err)
			assert.Equal(t, text, kit.Render(got))
			assert.True(t, k == got)
		})
	}
}

// A kit of the first release stays readable.
func TestOldKits(t *testing.T) {
	b, err := os.ReadFile("testdata/version1.kit")
	require.NoError(t, err)
	got, err := kit.Parse(string(b))
	require.NoError(t, err)
	assert.True(t, samples["sftp"] == got)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := func(name string) string {
			return rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune(" \n\r\t\":-\u00a0\u2028a"))), rapid.Custom(func(t *rapid.T) string {
				return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
			})).Draw(t, name)
		}
		k := kit.Kit{
			Repository: volspec.RepositoryID("r" + word("id")), Name: word("name"), Tenant: word("tenant"), Unique: word("unique"), Key: "k" + word("key"),
			Created: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "created"), 0).UTC(),
			Location: repository.Location{
				Type: rapid.SampledFrom([]string{"directory", "s3", "sftp"}).Draw(t, "type"), Path: word("path"), Endpoint: word("endpoint"), Region: word("region"),
				Bucket: word("bucket"), Prefix: word("prefix"), Insecure: rapid.Bool().Draw(t, "insecure"), CAFile: word("ca"), Host: word("host"),
				Port: rapid.IntRange(0, 65535).Draw(t, "port"), User: word("user"), HostKey: word("hostkey"),
			},
			Credentials: repository.Credentials{AccessKey: word("a"), SecretKey: word("s"), SessionToken: word("t"), PrivateKey: word("k"), Password: word("p")},
		}
		text := kit.Render(k)
		if rapid.Bool().Draw(t, "mailed") { // line ends and indentation change on the way
			text = "Hello,\r\n" + strings.ReplaceAll(text, "\n", " \r\n  ") + "bye"
		}
		got, err := kit.Parse(text)
		require.NoError(t, err, text)
		require.True(t, k == got, "%s\n%s", text, kit.Render(got))
	})
}

// Any single wrong, missing or doubled character of the block is noticed,
// unless it is white space at the end of a line.
func TestTypingErrorsAreNoticed(t *testing.T) {
	k := samples["sftp"]
	text := kit.Render(k)
	from, to := strings.Index(text, "version:"), strings.Index(text, "-----END MOORING")
	for i := from; i < to; i++ {
		for _, c := range []string{"", "x", "1", ":", text[i:i+1] + text[i:i+1]} {
			wrong := text[:i] + c + text[i+1:]
			got, err := kit.Parse(wrong)
			if err == nil {
				require.True(t, got == k && strings.TrimSpace(text[i:i+1]) == "" || wrong == text, "at %d: %q", i, wrong[max(0, i-20):i+20])
				continue
			}
			require.Contains(t, []errkind.Kind{errkind.Invalid, errkind.Unsupported}, errkind.Of(err))
			require.NotContains(t, err.Error(), "efgh-ijkl")
		}
	}
}

func TestWhatIsNoKit(t *testing.T) {
	text := kit.Render(samples["directory"])
	lines := strings.Split(text, "\n")
	at := 0
	for i, l := range lines {
		if strings.HasPrefix(l, "key: ") {
			at = i + 1
		}
	}
	for name, c := range map[string]struct {
		text, want string
		kind       errkind.Kind
	}{
		"nothing":  {"", "this is no recovery kit: it has no line -----BEGIN MOORING", errkind.Invalid},
		"cut off":  {text[:strings.Index(text, "checksum")], "is cut off", errkind.Invalid},
		"newer":    {strings.Replace(text, "version: 1", "version: 2", 1), `has version "2", this program knows 1`, errkind.Unsupported},
		"typo":     {strings.Replace(text, "abcd-efgh", "abcd-etgh", 1), "has a typing error", errkind.Invalid},
		"no colon": {strings.Replace(text, "key: ", "key ", 1), fmt.Sprintf("a mistake in line %d: it is not name: value", at), errkind.Invalid},
		"large":    {text + strings.Repeat(" ", 1<<20), "larger than 1 MiB", errkind.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := kit.Parse(c.text)
			assert.Equal(t, c.kind, errkind.Of(err))
			assert.ErrorContains(t, err, c.want)
			assert.True(t, got == kit.Kit{})
		})
	}
	for name, k := range map[string]kit.Kit{
		"type":       {Repository: "r", Key: "k", Created: made},
		"key":        {Repository: "r", Location: repository.Location{Type: "s3"}, Created: made},
		"repository": {Key: "k", Location: repository.Location{Type: "s3"}, Created: made},
	} {
		_, err := kit.Parse(kit.Render(k))
		assert.ErrorContains(t, err, `no usable "`+name+`"`)
	}
}

func TestAKitDoesNotShowItself(t *testing.T) {
	k := samples["s3"]
	var b strings.Builder
	for _, v := range []any{k, &k, []kit.Kit{k}, struct{ K kit.Kit }{k}, k.Credentials} {
		fmt.Fprintf(&b, "%v %+v %#v %s %q", v, v, v, v, v)
	}
	j, err := json.Marshal(map[string]any{"k": k})
	require.NoError(t, err)
	for _, secret := range []string{"abcd-efgh", "a/b+c="} {
		assert.NotContains(t, b.String()+string(j), secret)
	}
	assert.Contains(t, b.String(), "recovery kit of repository")
}

func FuzzKit(f *testing.F) {
	for _, k := range samples {
		f.Add(kit.Render(k))
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := kit.Parse(text)
		if err != nil {
			if kind := errkind.Of(err); kind != errkind.Invalid && kind != errkind.Unsupported {
				t.Fatal(err)
			}
			return
		}
		again, err := kit.Parse(kit.Render(k))
		if err != nil || again != k {
			t.Fatalf("%v\n%s", err, kit.Render(k))
		}
	})
}
