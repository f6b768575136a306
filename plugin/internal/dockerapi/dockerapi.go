// Package dockerapi speaks Docker's volume plugin protocol
// (docker.volumedriver/1.0): it turns HTTP requests into typed calls with a
// context, and their errors into what the engine understands.
//
// The types are those of docker/go-plugins-helpers; its server is not used,
// since it has no context, no shutdown, and answers a request that the engine
// repeats without its body in a way that makes the engine forget volumes.
package dockerapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"
	"github.com/docker/go-plugins-helpers/volume"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/plugin/internal/driver"
)

// maxBody bounds a request. The engine validates nothing.
const maxBody = 1 << 20

// Driver is what the protocol is about; package driver has it.
type Driver interface {
	Create(ctx context.Context, name string, opts map[string]string) error
	Remove(ctx context.Context, name string) error
	Mount(ctx context.Context, name, id string) (path string, err error)
	Unmount(ctx context.Context, name, id string) error
	Path(ctx context.Context, name string) (string, error)
	Get(ctx context.Context, name string) (driver.View, error)
	List(ctx context.Context) ([]driver.View, error)
}

// call is one endpoint. Queries are those whose error makes the engine forget
// a volume: unless the error says that the volume is not there, the
// connection is dropped instead, which the engine takes as "unreachable".
type call struct {
	op    string
	query bool
	level func(*log.Entry, ...any)
	do    func(ctx context.Context, b body) (any, error)
}

// body is the union of all requests.
type body struct {
	Name string
	Opts map[string]string
	ID   string
}

type handler struct {
	driver  Driver
	timeout time.Duration
}

// New returns the handler of the whole protocol. No call takes longer than
// timeout.
func New(d Driver, timeout time.Duration) http.Handler {
	h := &handler{driver: d, timeout: timeout}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /Plugin.Activate", func(w http.ResponseWriter, r *http.Request) {
		h.reply(r.Context(), w, http.StatusOK, map[string][]string{"Implements": {"VolumeDriver"}})
	})
	mux.HandleFunc("POST /VolumeDriver.Capabilities", func(w http.ResponseWriter, r *http.Request) {
		h.reply(r.Context(), w, http.StatusOK, volume.CapabilitiesResponse{Capabilities: volume.Capability{Scope: "global"}})
	})
	mux.HandleFunc("POST /VolumeDriver.List", h.serve(call{op: "list", level: (*log.Entry).Debug, do: h.list}, false))
	for path, c := range map[string]call{
		"Create":  {op: "create", level: (*log.Entry).Info, do: h.create},
		"Remove":  {op: "remove", level: (*log.Entry).Info, do: h.remove},
		"Mount":   {op: "mount", level: (*log.Entry).Info, do: h.mount},
		"Unmount": {op: "unmount", level: (*log.Entry).Info, do: h.unmount},
		"Path":    {op: "path", level: (*log.Entry).Debug, do: h.path, query: true},
		"Get":     {op: "get", level: (*log.Entry).Debug, do: h.get, query: true},
	} {
		mux.HandleFunc("POST /VolumeDriver."+path, h.serve(c, true))
	}
	return mux
}

func (h *handler) create(ctx context.Context, b body) (any, error) {
	return struct{}{}, h.driver.Create(ctx, b.Name, b.Opts)
}

func (h *handler) remove(ctx context.Context, b body) (any, error) {
	return struct{}{}, h.driver.Remove(ctx, b.Name)
}

func (h *handler) mount(ctx context.Context, b body) (any, error) {
	path, err := h.driver.Mount(ctx, b.Name, b.ID)
	return volume.MountResponse{Mountpoint: path}, err
}

func (h *handler) unmount(ctx context.Context, b body) (any, error) {
	return struct{}{}, h.driver.Unmount(ctx, b.Name, b.ID)
}

func (h *handler) path(ctx context.Context, b body) (any, error) {
	path, err := h.driver.Path(ctx, b.Name)
	return volume.PathResponse{Mountpoint: path}, err
}

func (h *handler) get(ctx context.Context, b body) (any, error) {
	v, err := h.driver.Get(ctx, b.Name)
	return volume.GetResponse{Volume: shown(v)}, err
}

func (h *handler) list(ctx context.Context, _ body) (any, error) {
	all, err := h.driver.List(ctx)
	reply := volume.ListResponse{Volumes: make([]*volume.Volume, 0, len(all))}
	for _, v := range all {
		reply.Volumes = append(reply.Volumes, shown(v))
	}
	return reply, err
}

func shown(v driver.View) *volume.Volume {
	return &volume.Volume{Name: v.Name, Mountpoint: v.Mountpoint, CreatedAt: v.CreatedAt, Status: v.Status}
}

// serve wraps one call: request id, deadline, body, panic, log line, answer.
func (h *handler) serve(c call, hasBody bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(log.With(log.WithRequest(r.Context(), ""), log.Op, c.op), h.timeout)
		defer cancel()
		var b body
		var result any
		var err error
		if hasBody {
			b, err = read(w, r)
			ctx = log.With(ctx, log.Volume, b.Name)
		}
		if err == nil {
			result, err = contained(ctx, c, b)
		}
		entry := log.G(ctx).WithField(log.Dur, time.Since(start).Milliseconds())
		if err == nil {
			c.level(entry, "volume request served")
			h.reply(ctx, w, http.StatusOK, result)
			return
		}
		kind := errkind.Of(err)
		entry = entry.WithField(log.Kind, string(kind)).WithField(log.Err, err.Error())
		switch {
		case kind == errkind.Internal || kind == errkind.Corrupt:
			entry.Error("volume request failed")
		case kind == errkind.NotFound && c.query: // Docker asks before it creates
			entry.Debug("volume request failed")
		default:
			entry.Warn("volume request failed")
		}
		if c.query && kind != errkind.NotFound && kind != errkind.Invalid || errors.Is(err, errNoBody) && c.query {
			panic(http.ErrAbortHandler)
		}
		h.reply(ctx, w, http.StatusInternalServerError, volume.ErrorResponse{Err: errkind.Text(err) + " (request " + log.Request(ctx) + ")"})
	}
}

// errNoBody: the engine lost the connection in the middle of a request, or
// gave it up, and repeats it, but has no body to send any more.
var errNoBody = errkind.New(errkind.Unavailable, "the plugin was restarted during this request, or Docker did not wait for it, and Docker repeats it without its content: run the command again")

func read(w http.ResponseWriter, r *http.Request) (b body, err error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return b, errkind.New(errkind.Invalid, "the request is larger than %d KiB: use a shorter name and fewer options", maxBody>>10)
		}
		return b, errNoBody
	}
	if len(data) == 0 {
		return b, errNoBody
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return body{}, errkind.Wrap(errkind.Invalid, err, "the request is not understood")
	}
	return b, nil
}

// contained runs a call; a panic in it becomes an error.
func contained(ctx context.Context, c call, b body) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.G(ctx).WithField("panic", p).WithField("stack", string(debug.Stack())).Error("volume request panicked")
			err = errkind.New(errkind.Internal, "the plugin failed in this request: report it with its log")
		}
	}()
	return c.do(ctx, b)
}

func (h *handler) reply(ctx context.Context, w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Debug("answer could not be sent")
	}
}
