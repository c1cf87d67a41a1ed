// Package s3 is the gateway that speaks the Amazon S3 API (2006-03-01, path style) in front of the filers.
package s3

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"example.org/weed/internal/filer"
)

const (
	bucketsDir = "/buckets/"
	uploadsDir = "/uploads/"
	xmlns      = "http://s3.amazonaws.com/doc/2006-03-01/"
	timeFormat = "2006-01-02T15:04:05.000Z"
	pageSize   = 1000
)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Server is one gateway. It keeps nothing, so any number of them may share the filers.
type Server struct {
	Filer            *filer.Client
	Region           string
	DeleteWithBucket bool // a bucket with objects may be deleted

	identities atomic.Pointer[Identities]
	requests   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	firstByte  *prometheus.HistogramVec
}

// New makes a gateway in front of the filers.
func New(f *filer.Client, registry prometheus.Registerer) *Server {
	s := &Server{Filer: f, Region: "us-east-1", DeleteWithBucket: true}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "SeaweedFS", Subsystem: "s3", Name: "request_total", Help: "Requests by method, status and bucket.",
	}, []string{"type", "code", "bucket"})
	s.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "SeaweedFS", Subsystem: "s3", Name: "request_seconds", Help: "Time to answer.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 24),
	}, []string{"type", "bucket"})
	s.firstByte = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "SeaweedFS", Subsystem: "s3", Name: "time_to_first_byte_millisecond", Help: "Time until an answer begins.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 27),
	}, []string{"type", "bucket"})
	registry.MustRegister(s.requests, s.seconds, s.firstByte)
	s.SetIdentities(nil)
	return s
}

// SetIdentities replaces who may do what, also while requests are served.
func (s *Server) SetIdentities(ids Identities) { s.identities.Store(&ids) }

// call is one request on its way through the server.
type call struct {
	http.ResponseWriter
	r           *http.Request
	bucket, key string
	id          *Identity
	sig         *signature
	status      int
	answered    time.Time // when the answer began
}

func (c *call) WriteHeader(status int) {
	if c.status == 0 {
		c.status, c.answered = status, time.Now()
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *call) has(name string) bool   { return c.r.URL.Query().Has(name) }
func (c *call) arg(name string) string { return c.r.URL.Query().Get(name) }
func (c *call) path() string           { return bucketsDir + c.bucket + "/" + c.key }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.health(w, r) {
		return
	}
	start := time.Now()
	c := &call{ResponseWriter: w, r: r}
	c.bucket, c.key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	requestID := strings.ToUpper(strings.ReplaceAll(uuid.NewString(), "-", ""))
	w.Header().Set("X-Amz-Request-Id", requestID)
	w.Header().Set("Server", "weed")
	if err := s.dispatch(c); err != nil {
		failure := toAPIError(err)
		if c.status == 0 && r.Method == http.MethodHead {
			c.WriteHeader(failure.status)
		} else if c.status == 0 {
			writeXML(c, failure.status, errorDocument{Code: failure.code, Message: failure.message,
				Resource: r.URL.Path, RequestID: requestID})
		}
	}
	bucket := c.bucket
	if c.status == 0 {
		c.status = http.StatusOK
	} else if c.status == http.StatusNotFound || c.status == http.StatusForbidden {
		bucket = "" // what strangers make up must not become labels
	}
	s.requests.WithLabelValues(r.Method, strconv.Itoa(c.status), bucket).Inc()
	s.seconds.WithLabelValues(r.Method, bucket).Observe(time.Since(start).Seconds())
	if r.Method == http.MethodGet && c.answered.After(start) {
		s.firstByte.WithLabelValues(r.Method, bucket).Observe(float64(c.answered.Sub(start).Milliseconds()))
	}
}

// health answers for monitors; /status and /healthz say that the gateway runs, /readyz that a filer answers as well.
func (s *Server) health(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/readyz":
		if err := s.Filer.Ready(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case "/status", "/healthz":
		w.WriteHeader(http.StatusOK)
	default:
		return false
	}
	return true
}

// operation is what a request asks for, and the action that it needs.
type operation struct {
	action string
	run    func(*call) error
}

func (s *Server) dispatch(c *call) (err error) {
	c.id, c.sig, err = s.identities.Load().authenticate(c.r, time.Now())
	if err != nil {
		return err
	}
	var op operation
	switch {
	case c.bucket == "":
		op = operation{"", s.listBuckets} // each bucket is checked
	case c.key == "":
		op = s.bucketOperation(c)
	default:
		op = s.objectOperation(c)
	}
	if op.run == nil {
		return errMethodNotAllowed
	}
	if op.action != "" && !c.id.may(op.action, c.bucket) {
		return errAccessDenied
	}
	if len(c.key) > 1024 {
		return errKeyTooLong
	}
	creates := c.key == "" && c.r.Method == http.MethodPut
	if c.bucket != "" && !creates {
		if err := s.bucketExists(c.r.Context(), c.bucket); err != nil {
			return err
		}
	}
	return op.run(c)
}

func (s *Server) bucketExists(ctx context.Context, bucket string) error {
	if !bucketName.MatchString(bucket) {
		return errNoSuchBucket
	}
	_, err := s.Filer.Stat(ctx, bucketsDir+bucket)
	if errors.Is(err, filer.ErrNotFound) {
		return errNoSuchBucket
	}
	return err
}

// unsupported are subresources that must not be taken for the plain operation.
var unsupported = []string{"acl", "cors", "encryption", "legal-hold", "lifecycle", "logging", "notification",
	"object-lock", "policy", "replication", "restore", "retention", "select", "tagging", "torrent", "website"}

func (s *Server) bucketOperation(c *call) operation {
	for _, name := range unsupported {
		if c.has(name) {
			return operation{"Admin", notImplemented}
		}
	}
	switch c.r.Method {
	case http.MethodPut:
		if c.has("versioning") {
			return operation{"Admin", notImplemented}
		}
		return operation{"Admin", s.createBucket}
	case http.MethodHead:
		return operation{"Read", func(*call) error { return nil }}
	case http.MethodDelete:
		return operation{"Admin", s.deleteBucket}
	case http.MethodPost:
		if c.has("delete") {
			return operation{"Write", s.deleteObjects}
		}
	case http.MethodGet:
		switch {
		case c.has("location"):
			return operation{"Read", s.location}
		case c.has("versioning"):
			return operation{"Read", versioning}
		case c.has("uploads"):
			return operation{"List", s.listUploads}
		case c.has("versions"):
			return operation{"List", notImplemented}
		}
		return operation{"List", s.listObjects}
	}
	return operation{}
}

func (s *Server) objectOperation(c *call) operation {
	for _, name := range unsupported {
		if c.has(name) {
			return operation{"Write", notImplemented}
		}
	}
	switch upload := c.has("uploadId"); c.r.Method {
	case http.MethodGet:
		if upload {
			return operation{"List", s.listParts}
		}
		return operation{"Read", s.getObject}
	case http.MethodHead:
		return operation{"Read", s.getObject}
	case http.MethodPut:
		if upload {
			return operation{"Write", s.putPart}
		}
		return operation{"Write", s.putObject}
	case http.MethodDelete:
		if upload {
			return operation{"Write", s.abortUpload}
		}
		return operation{"Write", s.deleteObject}
	case http.MethodPost:
		if upload {
			return operation{"Write", s.completeUpload}
		} else if c.has("uploads") {
			return operation{"Write", s.createUpload}
		}
	}
	return operation{}
}

func notImplemented(*call) error { return errNotImplemented }
