package repository

import (
	_ "github.com/hanwen/go-fuse/v2/fs"
	_ "github.com/kopia/kopia/repo"
	_ "github.com/kopia/kopia/repo/blob/filesystem"
	_ "github.com/kopia/kopia/repo/blob/s3"
	_ "github.com/kopia/kopia/repo/blob/sftp"
	_ "github.com/kopia/kopia/repo/maintenance"
	_ "github.com/kopia/kopia/snapshot"
	_ "github.com/kopia/kopia/snapshot/snapshotmaintenance"
)
