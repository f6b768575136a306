package account

// Attempt counts a log-in from an address that another part works on, and
// refuses it when there are too many.
func (s *Service) Attempt(from string) error { return s.limiter.allow(from) }
