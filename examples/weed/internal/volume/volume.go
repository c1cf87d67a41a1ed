// Package volume is the server that stores blobs, each in a file of its own below the directory of its volume.
package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/security"
	"example.org/weed/internal/version"
)

// Pulse is the time from one heartbeat to the next.
const Pulse = time.Second

// staleAfter is how long the server counts as healthy without a master that takes its heartbeats.
const staleAfter = 10 * Pulse

var fidPattern = regexp.MustCompile(`^/([0-9]{1,9}),([0-9a-f]{1,64})$`)

// Server stores blobs. Fill the exported fields, call Load, then serve.
type Server struct {
	Dirs     []string
	Max      []int // volumes, one number a directory
	Self     cluster.Heartbeat
	Reporter *cluster.Reporter
	JWTKey   string

	mu       sync.RWMutex
	volumes  map[uint32]string // id to directory
	stopping atomic.Bool
}

// CheckDirs fails unless every directory is there and can be written to.
func CheckDirs(dirs []string) error {
	for _, dir := range dirs {
		file, err := os.CreateTemp(dir, ".check-*")
		if err != nil {
			return fmt.Errorf("check data folder (-dir) writable: %w", err)
		}
		file.Close()
		os.Remove(file.Name())
	}
	return nil
}

// Load finds the volumes in the directories; SIGHUP does it again.
func (s *Server) Load() error {
	found := map[uint32]string{}
	for _, dir := range s.Dirs {
		items, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, item := range items {
			name, isVolume := strings.CutPrefix(item.Name(), "v")
			if id, err := strconv.ParseUint(name, 10, 32); isVolume && err == nil && item.IsDir() {
				found[uint32(id)] = filepath.Join(dir, item.Name())
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.volumes = found
	return nil
}

// Report sends heartbeats until the context ends or StopHeartbeats is called.
func (s *Server) Report(ctx context.Context) {
	for ctx.Err() == nil && !s.stopping.Load() {
		beat := s.Self
		beat.Volumes = s.list()
		for _, n := range s.Max {
			beat.Max += n
		}
		if _, err := s.Reporter.Beat(ctx, beat); err != nil && ctx.Err() == nil {
			slog.Warn("heartbeat", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(Pulse):
		}
	}
}

// StopHeartbeats makes the server unhealthy, so that masters and balancers look elsewhere while it still answers.
func (s *Server) StopHeartbeats() { s.stopping.Store(true) }

func (s *Server) list() []cluster.Volume {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := []cluster.Volume{}
	for id, dir := range s.volumes {
		v := cluster.Volume{ID: id}
		_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // a blob that has just been deleted is none
			}
			if info, err := d.Info(); err == nil {
				v.Size, v.FileCount = v.Size+info.Size(), v.FileCount+1
			}
			return nil
		})
		out = append(out, v)
	}
	return out
}

// Internal handles the port of the masters.
func (s *Server) Internal() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /volume/allocate", func(w http.ResponseWriter, r *http.Request) {
		var v cluster.Volume
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		} else if err := s.allocate(v.ID); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// perDir counts the volumes of each directory.
func (s *Server) perDir() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.counted()
}

// counted needs the lock.
func (s *Server) counted() map[string]int {
	count := map[string]int{}
	for _, dir := range s.volumes {
		count[filepath.Dir(dir)]++
	}
	return count
}

func (s *Server) allocate(id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := s.counted()
	for i, dir := range s.Dirs {
		if count[filepath.Clean(dir)] >= s.Max[i] {
			continue
		}
		path := filepath.Join(dir, fmt.Sprintf("v%d", id))
		if err := os.Mkdir(path, 0o750); err != nil {
			return err
		}
		s.volumes[id] = path
		return nil
	}
	return errors.New("no free slot for a volume")
}

// Public handles the HTTP port.
func (s *Server) Public() http.Handler {
	mux := http.NewServeMux()
	health := func(w http.ResponseWriter, _ *http.Request) {
		if s.stopping.Load() || !s.Reporter.Fresh(staleAfter) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /readyz", health)
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("/", s.blob)
	return mux
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	type disk struct {
		Dir      string  `json:"dir"`
		All      uint64  `json:"all"`
		Used     uint64  `json:"used"`
		Free     uint64  `json:"free"`
		FreePart float64 `json:"percent_free"`
	}
	disks := []disk{}
	for _, dir := range s.Dirs {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			slog.Warn("no disk status", "dir", dir, "error", err)
			continue
		}
		size := uint64(st.Bsize)
		d := disk{Dir: dir, All: st.Blocks * size, Used: (st.Blocks - st.Bfree) * size, Free: st.Bavail * size}
		if d.All > 0 {
			d.FreePart = 100 * float64(d.Free) / float64(d.All)
		}
		disks = append(disks, d)
	}
	cluster.WriteJSON(w, http.StatusOK, map[string]any{"Version": version.String(), "DiskStatuses": disks, "Volumes": s.list()})
}

// blob reads, writes or deletes /volume,key.
func (s *Server) blob(w http.ResponseWriter, r *http.Request) {
	match := fidPattern.FindStringSubmatch(r.URL.Path)
	if match == nil {
		http.NotFound(w, r)
		return
	}
	id, _ := strconv.ParseUint(match[1], 10, 32) // nine digits fit
	s.mu.RLock()
	dir, found := s.volumes[uint32(id)]
	s.mu.RUnlock()
	if !found {
		http.NotFound(w, r)
		return
	}
	path := filepath.Join(dir, match[2])
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		http.ServeFile(w, r, path)
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "BEARER ")
	if err := security.VerifyWrite(s.JWTKey, token, r.URL.Path[1:]); err != nil {
		cluster.WriteJSON(w, http.StatusUnauthorized, map[string]string{"error": err.Error()})
		return
	}
	switch r.Method {
	case http.MethodPut, http.MethodPost:
		size, err := write(path, r)
		if err != nil {
			cluster.WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
		cluster.WriteJSON(w, http.StatusCreated, map[string]any{"size": size})
	case http.MethodDelete:
		if err := os.Remove(path); err != nil {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// write stores the body, or the first file of a multipart form as "curl -F" sends it.
func write(path string, r *http.Request) (int64, error) {
	var from io.Reader = r.Body
	if form, err := r.MultipartReader(); err == nil {
		if from, err = form.NextPart(); err != nil {
			return 0, err
		}
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	size, err := io.Copy(file, from)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(file.Name(), path)
}
