package backup

import "context"

// selfBackup is the object of the alarm about copies of the catalog.
const selfBackup = "self-backup"

// SelfBackupFailed raises the alarm that the catalog itself is not backed up.
func (s *Service) SelfBackupFailed(ctx context.Context, sentence string) error {
	return s.raise(ctx, "", alarmJob, selfBackup, sentence)
}

// SelfBackupDone ends it.
func (s *Service) SelfBackupDone(ctx context.Context, sentence string) error {
	return s.clear(ctx, "", alarmJob, selfBackup, sentence)
}
