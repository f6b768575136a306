package vc

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	vimxml "github.com/vmware/govmomi/vim25/xml"
)

// call is one request, by its name on the wire; of files, the HTTP method.
type call struct{ method, object string }

// front stands before everything the simulator serves: it knows the calls by
// name, and lets the rules of the tests act on them.
func (s *Server) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call{method: r.Method}
		switch {
		case strings.HasPrefix(r.URL.Path, "/folder/"):
			c.object = strings.TrimPrefix(r.URL.Path, "/folder/")
			s.act(w, r, c, http.HandlerFunc(s.serveFolder))
		case strings.HasPrefix(r.URL.Path, "/nfc/"):
			c.object = "nfc"
			s.act(w, r, c, http.HandlerFunc(s.serveNFC))
		case r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/sdk"):
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, "the request broke", http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			s.act(w, r, parseCall(body), s.correct(next))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// parseCall finds the method and the object of a SOAP request.
func parseCall(body []byte) call {
	var c call
	d := xml.NewDecoder(bytes.NewReader(body))
	inBody := false
	for {
		tok, err := d.Token()
		if err != nil {
			return c
		}
		e, ok := tok.(xml.StartElement)
		switch {
		case !ok:
		case e.Name.Local == "Body":
			inBody = true
		case inBody && c.method == "":
			c.method = e.Name.Local
		case inBody && e.Name.Local == "_this":
			_ = d.DecodeElement(&c.object, &e)
			return c
		}
	}
}

// act counts a call and does with it what the first rule that matches says.
func (s *Server) act(w http.ResponseWriter, r *http.Request, c call, next http.Handler) {
	rule := s.rules.match(c)
	if rule == nil {
		next.ServeHTTP(w, r)
		return
	}
	if rule.Delay > 0 {
		select {
		case <-time.After(rule.Delay):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case rule.Kind != "":
		s.fail(w, r, c, *rule)
	case rule.DropReply:
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		s.settle(rec.Body.Bytes())
		if h, ok := w.(http.Hijacker); ok {
			if conn, _, err := h.Hijack(); err == nil {
				_ = conn.Close()
			}
		}
	case rule.CutAfter > 0:
		left := rule.CutAfter
		r.Body = io.NopCloser(cutReader{r.Body, &left})
		next.ServeHTTP(cutWriter{w, &left}, r)
	default:
		next.ServeHTTP(w, r)
	}
}

// cutReader and cutWriter cut the connection when no bytes are left.
type cutReader struct {
	io.Reader
	left *int64
}

func (c cutReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if *c.left -= int64(n); *c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

type cutWriter struct {
	http.ResponseWriter
	left *int64
}

func (c cutWriter) Write(p []byte) (int, error) {
	if *c.left -= int64(len(p)); *c.left < 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (c cutWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

var taskRef = regexp.MustCompile(`>(task-\d+)<`)

// settle waits for the task that a reply names: a call whose reply is lost has
// happened.
func (s *Server) settle(reply []byte) {
	if m := taskRef.FindSubmatch(reply); m != nil {
		ref := types.ManagedObjectReference{Type: "Task", Value: string(m[1])}
		if t, ok := s.root.Map.Get(ref).(*simulator.Task); ok {
			t.Wait()
		}
	}
}

// fail answers with a fault, or with a task that fails; of files, with a status.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, c call, rule rule) {
	if status, err := strconv.Atoi(rule.Kind); err == nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	f, err := newFault(rule.Kind)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	if rule.InTask && strings.HasSuffix(c.method, "_Task") {
		ctx := s.ctx()
		ref := s.task(ctx, types.ManagedObjectReference{Type: "Rule", Value: c.object}, c.method, nil,
			func() (types.AnyType, types.BaseMethodFault) { return nil, f })
		ns, kind := "vim25", "Task"
		if strings.HasPrefix(r.URL.Path, "/vslm") {
			vctx := ctx.For("/vslm/sdk")
			ref = wrapTask(vctx, ref)
			ns, kind = "vslm", "VslmTask"
		}
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">`+
			`<soapenv:Body><%sResponse xmlns="urn:%s"><returnval type=%q>%s</returnval></%[1]sResponse></soapenv:Body></soapenv:Envelope>`,
			c.method, ns, kind, ref.Value)
		return
	}
	var detail bytes.Buffer
	e := vimxml.NewEncoder(&detail)
	err = e.EncodeElement(f, vimxml.StartElement{
		Name: vimxml.Name{Local: rule.Kind + "Fault"},
		Attr: []vimxml.Attr{
			{Name: vimxml.Name{Local: "xmlns"}, Value: "urn:vim25"},
			{Name: vimxml.Name{Local: "xsi:type"}, Value: rule.Kind},
		},
	})
	if err == nil {
		err = e.Flush()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"`+
		` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soapenv:Body><soapenv:Fault>`+
		`<faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring><detail>%s</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>`,
		rule.Kind, detail.Bytes())
}

// newFault makes a fault of a type by its name.
func newFault(kind string) (types.BaseMethodFault, error) {
	t, ok := types.TypeFunc()(kind)
	if !ok {
		return nil, fmt.Errorf("there is no fault %q", kind)
	}
	f, ok := reflect.New(t).Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%q is no fault", kind)
	}
	return f, nil
}
