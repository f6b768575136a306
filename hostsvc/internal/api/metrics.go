package api

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/wire"
)

// metrics are what /metrics shows: of the interface, of the process, and of
// the service's stock.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics(version string, s Stats) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mooring_requests_total", Help: "Requests answered, by endpoint and kind of result.",
		}, []string{"endpoint", "kind"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mooring_request_duration_seconds", Help: "Time from a request's header to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}, []string{"endpoint"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mooring_requests_in_flight", Help: "Requests being worked on.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mooring_build_info", Help: "1, with the versions as labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.duration, m.inFlight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&stock{stats: s})
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, // what can be known is shown
		Timeout:       2 * readyTime,
	})
	return m
}

func (m *metrics) observe(endpoint, kind string, took time.Duration) {
	m.requests.WithLabelValues(endpoint, kind).Inc()
	m.duration.WithLabelValues(endpoint).Observe(took.Seconds())
}

// stock collects the gauges when they are asked for.
type stock struct{ stats Stats }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mooring_"+name, help, labels, nil)
}

var (
	readyGauge = gauge("ready", "1 while the service serves requests.")
	stockErrs  = gauge("stock_unreadable", "1 when the gauges below could not all be read.")
	// counted maps wire.Status.Counts to gauges.
	counted = map[string]*prometheus.Desc{
		"vmgroups":   gauge("vmgroups", "Vmgroups."),
		"vms":        gauge("vms", "Virtual machines."),
		"volumes":    gauge("volumes", "Volumes, without those in the trash."),
		"attached":   gauge("volumes_attached", "Volumes attached to a VM."),
		"trashed":    gauge("volumes_trashed", "Volumes in the trash."),
		"datastores": gauge("datastores", "Datastores."),

		"repositories":         gauge("repositories", "Repositories of recovery points."),
		"repositories_offline": gauge("repositories_offline", "Repositories whose place is away or is not the right one."),
		"recovery_points":      gauge("recovery_points", "Recovery points in all repositories."),
		"stored_bytes":         gauge("backup_stored_bytes", "Bytes in all repositories."),
		"jobs_queued":          gauge("jobs_queued", "Jobs that wait."),
		"jobs_running":         gauge("jobs_running", "Jobs that run."),
		"alarms":               gauge("alarms", "Alarms that stand."),
	}
	dsOnline    = gauge("datastore_online", "1 while a datastore can be written, 0 when it is read-only or offline.", "datastore", "state")
	dsCapacity  = gauge("datastore_capacity_bytes", "Size of a datastore.", "datastore")
	dsFree      = gauge("datastore_free_bytes", "Free bytes of a datastore.", "datastore")
	dsVolumes   = gauge("datastore_volumes", "Volumes on a datastore.", "datastore")
	dsAllocated = gauge("datastore_provisioned_bytes", "Sum of the sizes of the volumes on a datastore.", "datastore")
)

func (s *stock) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readyGauge, stockErrs, dsOnline, dsCapacity, dsFree, dsVolumes, dsAllocated} {
		ch <- d
	}
	for _, d := range counted {
		ch <- d
	}
}

func (s *stock) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(log.WithRequest(context.Background(), ""), readyTime)
	defer cancel()
	status, statusErr := s.stats.Status(ctx)
	stores, storesErr := s.stats.Datastores(ctx)
	for _, err := range []error{statusErr, storesErr} {
		if err != nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("gauges for /metrics cannot be read")
		}
	}
	set := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	set(stockErrs, bit(statusErr != nil || storesErr != nil))
	if statusErr == nil {
		set(readyGauge, bit(status.Ready))
		for name, d := range counted {
			if n, ok := status.Counts[name]; ok {
				set(d, float64(n))
			}
		}
	}
	if storesErr == nil {
		for _, ds := range stores {
			collectStore(set, ds)
		}
	}
}

func collectStore(set func(d *prometheus.Desc, v float64, labels ...string), ds wire.Datastore) {
	set(dsOnline, bit(ds.State == "online"), ds.Name, ds.State)
	set(dsCapacity, float64(ds.Capacity), ds.Name)
	set(dsFree, float64(ds.Free), ds.Name)
	set(dsVolumes, float64(ds.Volumes), ds.Name)
	set(dsAllocated, float64(ds.Allocated), ds.Name)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
