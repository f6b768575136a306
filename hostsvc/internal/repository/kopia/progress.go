package kopia

import (
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/repository"
)

// progress adds up what workers did and tells of it a few times a second.
type progress struct {
	report repository.Report
	m      *meter

	mu   sync.Mutex // guards the rest, and makes reports come one by one
	p    repository.Progress
	told time.Time
}

const progressEvery = 250 * time.Millisecond

func newProgress(report repository.Report, total int64, m *meter) *progress {
	return &progress{report: report, m: m, p: repository.Progress{Total: total}, told: time.Now()}
}

func (p *progress) add(done, read int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p.Done += done
	p.p.Read += read
	if p.report != nil && time.Since(p.told) >= progressEvery {
		p.tell()
	}
}

// end tells once more.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil {
		p.tell()
	}
}

func (p *progress) tell() {
	if p.m != nil {
		p.p.Stored = p.m.stored.Load()
	}
	p.told = time.Now()
	p.report(p.p)
}
