package job

import "time"

// meter measures bytes per second over the last seconds.
type meter struct {
	at   time.Time
	done int64
	last float64
}

func (m *meter) rate(at time.Time, done int64) float64 {
	if m.at.IsZero() || done < m.done {
		m.at, m.done, m.last = at, done, 0
		return 0
	}
	if passed := at.Sub(m.at).Seconds(); passed >= 1 {
		fresh := float64(done-m.done) / passed
		if m.last == 0 {
			m.last = fresh
		} else {
			m.last = 0.6*m.last + 0.4*fresh
		}
		m.at, m.done = at, done
	}
	return m.last
}
