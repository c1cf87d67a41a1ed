// Package filer is the server that keeps files by path: in a directory of its own, alike with the other filers.
package filer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/version"
)

// Pulse is the time from one heartbeat to the next.
const Pulse = time.Second

// Server answers for a Store.
type Server struct {
	store    *Store
	reporter *cluster.Reporter
	peers    *peers
	self     cluster.Address
	ready    atomic.Bool
	requests *prometheus.CounterVec
}

// NewServer makes a server that is not ready before Join.
func NewServer(s *Store, self cluster.Address, r *cluster.Reporter, registry prometheus.Registerer) *Server {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "SeaweedFS", Subsystem: "filer", Name: "request_total", Help: "Requests by method and status.",
	}, []string{"type", "code"})
	registry.MustRegister(requests)
	p := &peers{self: self, client: r.Client, store: s, known: map[cluster.Address]*peer{}}
	return &Server{store: s, reporter: r, peers: p, self: self, requests: requests}
}

// Join waits for a leading master, learns from it which filers there are and catches up with them; then the server is
// ready. It returns early only when the context ends.
func (s *Server) Join(ctx context.Context) {
	for ctx.Err() == nil {
		if s.beat(ctx) {
			s.peers.pull(ctx)
			s.ready.Store(true)
			return
		}
		pause(ctx, Pulse)
	}
}

// Run keeps in touch with the master and the other filers until the context ends.
func (s *Server) Run(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, min(Pulse, pullInterval))
		s.beat(ctx)
		s.peers.pull(ctx)
	}
}

func (s *Server) beat(ctx context.Context) bool {
	welcome, err := s.reporter.Beat(ctx, cluster.Heartbeat{Kind: "filer", Address: s.self})
	if err != nil {
		if ctx.Err() == nil {
			slog.Warn("heartbeat", "error", err)
		}
		return false
	}
	s.peers.name(welcome.Filers...)
	return true
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Internal handles the port of the gateways and of other filers, which may come before this one is ready.
func (s *Server) Internal() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /changes", func(w http.ResponseWriter, r *http.Request) {
		if ask, ok := decode[ChangesRequest](w, r); ok {
			cluster.WriteJSON(w, http.StatusOK, s.peers.answer(ask))
		}
	})
	mux.HandleFunc("POST /list", s.whenReady(func(w http.ResponseWriter, r *http.Request) {
		if ask, ok := decode[ListRequest](w, r); ok {
			cluster.WriteJSON(w, http.StatusOK, s.store.List(ask))
		}
	}))
	mux.HandleFunc("POST /compose", s.whenReady(s.compose))
	mux.HandleFunc("/object", func(w http.ResponseWriter, r *http.Request) {
		e, err := DecodeEntry(r.Header)
		if err == nil && r.Method == http.MethodPut && e.Mtime != 0 {
			s.replica(w, r, e)
			return
		}
		e.Path = r.URL.Query().Get("path")
		s.whenReady(func(w http.ResponseWriter, r *http.Request) { s.object(w, r, e) })(w, r)
	})
	return mux
}

func decode[T any](w http.ResponseWriter, r *http.Request) (v T, ok bool) {
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return v, false
	}
	return v, true
}

// counted remembers the status of an answer.
type counted struct {
	http.ResponseWriter
	status int
}

func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (s *Server) whenReady(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "the filer is starting", http.StatusServiceUnavailable)
			return
		}
		c := &counted{ResponseWriter: w, status: http.StatusOK}
		h(c, r)
		s.requests.WithLabelValues(r.Method, strconv.Itoa(c.status)).Inc()
	}
}

// Public handles the HTTP port: files by their path, folders as JSON lists.
func (s *Server) Public() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clean := path.Clean("/" + r.URL.Path)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case reads && (clean == "/healthz" || clean == "/readyz"):
			if err := s.store.Check(); err != nil || !s.ready.Load() {
				slog.Warn("unhealthy", "error", err)
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		case reads && strings.HasSuffix(r.URL.Path, "/"):
			s.folder(w, r, clean)
		default:
			s.whenReady(func(w http.ResponseWriter, r *http.Request) {
				s.object(w, r, Entry{Path: clean, Mime: r.Header.Get("Content-Type")})
			})(w, r)
		}
	})
}

func (s *Server) folder(w http.ResponseWriter, r *http.Request, clean string) {
	listing := s.store.List(ListRequest{
		Prefix: strings.TrimSuffix(clean, "/") + "/", After: r.FormValue("lastFileName"), Delimiter: "/", Limit: 1000,
	})
	cluster.WriteJSON(w, http.StatusOK, map[string]any{
		"Path": clean, "Entries": listing.Entries, "Folders": listing.Prefixes,
		"ShouldDisplayLoadMore": listing.Truncated, "LastFileName": listing.Next, "Version": version.String(),
	})
}

func (s *Server) object(w http.ResponseWriter, r *http.Request, e Entry) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.read(w, r, e.Path)
	case http.MethodPut, http.MethodPost:
		stored, _, err := s.store.Put(e, r.Body)
		if err != nil {
			fail(w, err)
			return
		}
		s.peers.push(r.Context(), stored)
		w.Header().Set(entryHeader, encodeEntry(stored))
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		tombstone, err := s.store.Delete(e.Path)
		if err != nil {
			fail(w, err)
			return
		}
		s.peers.push(r.Context(), tombstone)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// replica takes what another filer pushes.
func (s *Server) replica(w http.ResponseWriter, r *http.Request, e Entry) {
	if _, _, err := s.store.Put(e, r.Body); err != nil {
		fail(w, err)
	}
}

func (s *Server) read(w http.ResponseWriter, r *http.Request, path string) {
	e, err := s.store.Get(path)
	if err != nil {
		fail(w, err)
		return
	}
	content, err := s.store.Read(e)
	if err != nil { // replaced between the two calls, perhaps
		if e, err = s.store.Get(path); err == nil {
			content, err = s.store.Read(e)
		}
	}
	if err != nil {
		fail(w, err)
		return
	}
	defer content.Close()
	shown := e
	shown.Chunks = nil // they mean nothing elsewhere
	w.Header().Set(entryHeader, encodeEntry(shown))
	w.Header().Set("ETag", `"`+e.ETag+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	if e.Mime != "" {
		w.Header().Set("Content-Type", e.Mime)
	}
	http.ServeContent(w, r, "", time.Unix(0, e.Mtime), content)
}

func (s *Server) compose(w http.ResponseWriter, r *http.Request) {
	ask, ok := decode[ComposeRequest](w, r)
	if !ok {
		return
	}
	composed, gone, err := s.store.Compose(ask.Entry, ask.Parts)
	if err != nil {
		fail(w, err)
		return
	}
	s.peers.push(r.Context(), append([]Entry{composed}, gone...)...)
	cluster.WriteJSON(w, http.StatusOK, composed)
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, ErrNotFound) {
		status = http.StatusNotFound
	} else {
		slog.Error("filer", "error", err)
	}
	http.Error(w, err.Error(), status)
}
