package account

import "context"

// CountHashes counts the hashings of s from now on.
func (s *Service) CountHashes() *int {
	n, kdf := new(int), s.hasher.kdf
	s.hasher.kdf = func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte {
		*n++
		return kdf(password, salt, time, memory, threads, size)
	}
	return n
}

// WhileHashing does something once, in the middle of the next hashing of s.
func (s *Service) WhileHashing(do func()) {
	kdf := s.hasher.kdf
	s.hasher.kdf = func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte {
		s.hasher.kdf = kdf
		do()
		return kdf(password, salt, time, memory, threads, size)
	}
}

// Sweep is one round of Run.
func (s *Service) Sweep(ctx context.Context) error { return s.sweep(ctx) }

// CodeAt is the code that an authenticator shows at a step.
var CodeAt = codeAt

// StepOf is the step of a time.
var StepOf = stepOf

// KeyText reads the text of a key.
func KeyText(text string) ([]byte, error) { return base32Text.DecodeString(text) }
