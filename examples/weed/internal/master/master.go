// Package master is the server that knows which volume servers and filers there are.
package master

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/election"
	"example.org/weed/internal/security"
	"example.org/weed/internal/version"
)

const (
	nodeTimeout = 5 * time.Second // a node that says nothing for so long is gone
	lockTimeout = time.Second     // how long a health check waits for the topology
	tokenTTL    = 10 * time.Second
)

// ErrNoSpace says that no volume server has room for another volume.
var ErrNoSpace = errors.New("no writable volumes and no free volumes left")

// Server keeps the topology. Only the leader's is filled.
type Server struct {
	Election    *election.Node
	Client      *cluster.Client
	VolumeLimit int64 // bytes, after which a volume takes no more writes
	JWTKey      string

	topology   sync.Mutex
	nodes      map[cluster.Address]*node
	heartbeats *prometheus.CounterVec
}

type node struct {
	cluster.Heartbeat
	seen time.Time
}

// New makes a server with an empty topology.
func New(e *election.Node, c *cluster.Client, volumeLimit int64, jwtKey string) *Server {
	heartbeats := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "SeaweedFS", Subsystem: "master", Name: "received_heartbeats", Help: "Heartbeats that arrived.",
	}, []string{"type"})
	return &Server{Election: e, Client: c, VolumeLimit: volumeLimit, JWTKey: jwtKey, nodes: map[cluster.Address]*node{},
		heartbeats: heartbeats}
}

// Register adds the metrics that say whether this master leads and what reports to it.
func (s *Server) Register(registry prometheus.Registerer) {
	gauge := func(name, help string, value func() float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "SeaweedFS", Subsystem: "master", Name: name, Help: help}, value))
	}
	gauge("is_leader", "1 when this master leads.", func() float64 {
		if s.Election.IsLeader() {
			return 1
		}
		return 0
	})
	registry.MustRegister(s.heartbeats)
	gauge("volume_servers", "Volume servers that report to this master.", func() float64 {
		s.topology.Lock()
		defer s.topology.Unlock()
		return float64(len(s.live("volume")))
	})
}

// Public handles the HTTP port.
func (s *Server) Public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /cluster/healthz", s.healthz)
	mux.HandleFunc("GET /cluster/status", s.clusterStatus)
	mux.HandleFunc("/dir/status", s.byLeader(s.dirStatus))
	mux.HandleFunc("/vol/status", s.byLeader(s.volStatus))
	mux.HandleFunc("/dir/assign", s.byLeader(s.assign))
	mux.HandleFunc("/dir/lookup", s.byLeader(s.lookup))
	return mux
}

// Internal handles the port of the other servers.
func (s *Server) Internal() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /election", s.Election)
	mux.HandleFunc("POST /heartbeat", s.heartbeat)
	return mux
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.Election.Leader() == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// healthz is 200 when a leader is agreed on, 503 without one, and 423 when the leader's topology stays locked.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if s.Election.Leader() == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for start := time.Now(); !s.topology.TryLock(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > lockTimeout {
			w.WriteHeader(http.StatusLocked)
			return
		}
	}
	s.topology.Unlock()
}

func (s *Server) clusterStatus(w http.ResponseWriter, _ *http.Request) {
	status := struct {
		IsLeader    bool            `json:",omitempty"`
		Leader      cluster.Address `json:",omitempty"`
		Peers       []string        `json:",omitempty"`
		MaxVolumeId uint32
	}{IsLeader: s.Election.IsLeader(), Leader: s.Election.Leader(), MaxVolumeId: s.Election.MaxID()}
	for _, p := range s.Election.Peers {
		if p.HTTP() != s.Election.Self.HTTP() {
			status.Peers = append(status.Peers, p.HTTP())
		}
	}
	cluster.WriteJSON(w, http.StatusOK, status)
}

// byLeader lets the leader answer, wherever the request arrives.
func (s *Server) byLeader(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		leader := s.Election.Leader()
		switch {
		case leader == s.Election.Self:
			h(w, r)
		case leader == "" || r.Header.Get("X-Forwarded-For") != "": // a leader that has just changed makes no loop
			cluster.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"error": cluster.ErrNoLeader.Error()})
		default:
			httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: leader.HTTP()}).ServeHTTP(w, r)
		}
	}
}

func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request) {
	var beat cluster.Heartbeat
	if err := json.NewDecoder(r.Body).Decode(&beat); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if beat.Kind == "volume" {
		s.heartbeats.WithLabelValues("total").Inc()
	}
	welcome := cluster.Welcome{Leader: s.Election.Leader(), Accepted: s.Election.IsLeader()}
	if welcome.Accepted {
		for _, v := range beat.Volumes {
			if err := s.Election.Taken(v.ID); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		s.topology.Lock()
		s.nodes[beat.Address] = &node{beat, time.Now()}
		for _, n := range s.live("filer") {
			welcome.Filers = append(welcome.Filers, n.Address)
		}
		s.topology.Unlock()
	}
	cluster.WriteJSON(w, http.StatusOK, welcome)
}

// live forgets who has gone and returns the rest of one kind in order. The topology must be locked.
func (s *Server) live(kind string) []*node {
	var out []*node
	for address, n := range s.nodes {
		if time.Since(n.seen) > nodeTimeout {
			delete(s.nodes, address)
		} else if n.Kind == kind {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *node) int { return cmp.Compare(a.Address, b.Address) })
	return out
}

type dataNode struct {
	Url       string
	PublicUrl string
	Volumes   int
	VolumeIds string
	Max       int
}

type rack struct {
	Id        string
	DataNodes []dataNode
}

type dataCenter struct {
	Id    string
	Racks []*rack
}

func (s *Server) dirStatus(w http.ResponseWriter, _ *http.Request) {
	s.topology.Lock()
	nodes := s.live("volume")
	s.topology.Unlock()
	centers, capacity, used := []*dataCenter{}, 0, 0
	for _, n := range nodes {
		centerID, rackID := cmp.Or(n.DataCenter, "DefaultDataCenter"), cmp.Or(n.Rack, "DefaultRack")
		var ids []string
		for _, v := range n.Volumes {
			ids = append(ids, strconv.Itoa(int(v.ID)))
		}
		i := slices.IndexFunc(centers, func(c *dataCenter) bool { return c.Id == centerID })
		if i < 0 {
			i, centers = len(centers), append(centers, &dataCenter{Id: centerID})
		}
		j := slices.IndexFunc(centers[i].Racks, func(r *rack) bool { return r.Id == rackID })
		if j < 0 {
			j, centers[i].Racks = len(centers[i].Racks), append(centers[i].Racks, &rack{Id: rackID})
		}
		in := centers[i].Racks[j]
		in.DataNodes = append(in.DataNodes, dataNode{n.Address.HTTP(), n.PublicURL, len(n.Volumes), strings.Join(ids, " "), n.Max})
		capacity, used = capacity+n.Max, used+len(n.Volumes)
	}
	cluster.WriteJSON(w, http.StatusOK, map[string]any{
		"Topology": map[string]any{"Max": capacity, "Free": capacity - used, "DataCenters": centers},
		"Version":  version.String(),
	})
}

func (s *Server) volStatus(w http.ResponseWriter, _ *http.Request) {
	volumes := map[string][]cluster.Volume{}
	s.topology.Lock()
	for _, n := range s.live("volume") {
		volumes[n.Address.HTTP()] = n.Volumes
	}
	s.topology.Unlock()
	cluster.WriteJSON(w, http.StatusOK, map[string]any{"Volumes": volumes, "Version": version.String()})
}

// assign finds a place for one file: {"fid": "volume,key", "url": …, "auth": token}.
func (s *Server) assign(w http.ResponseWriter, r *http.Request) {
	at, id, err := s.writable(r.Context())
	if err != nil {
		cluster.WriteJSON(w, http.StatusNotAcceptable, map[string]string{"error": err.Error()})
		return
	}
	fid := fmt.Sprintf("%d,%016x%08x", id, time.Now().UnixNano(), rand.Uint32())
	answer := map[string]any{"fid": fid, "url": at.Address.HTTP(), "publicUrl": at.PublicURL, "count": 1}
	if token := security.SignWrite(s.JWTKey, fid, tokenTTL); token != "" {
		answer["auth"] = token
	}
	cluster.WriteJSON(w, http.StatusOK, answer)
}

func (s *Server) writable(ctx context.Context) (*node, uint32, error) {
	s.topology.Lock()
	defer s.topology.Unlock()
	nodes := s.live("volume")
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	for _, n := range nodes {
		for _, v := range n.Volumes {
			if v.Size < s.VolumeLimit {
				return n, v.ID, nil
			}
		}
	}
	for _, n := range nodes {
		if len(n.Volumes) >= n.Max {
			continue
		}
		id := s.Election.MaxID() + 1
		if err := s.Election.Taken(id); err != nil {
			return nil, 0, err
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := s.Client.Call(ctx, n.Address, "/volume/allocate", cluster.Volume{ID: id}, nil)
		cancel()
		if err == nil {
			n.Volumes = append(n.Volumes, cluster.Volume{ID: id})
			return n, id, nil
		}
	}
	return nil, 0, ErrNoSpace
}

func (s *Server) lookup(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(r.FormValue("volumeId"), ",")
	type location struct {
		Url       string `json:"url"`
		PublicURL string `json:"publicUrl"`
	}
	var found []location
	s.topology.Lock()
	for _, n := range s.live("volume") {
		for _, v := range n.Volumes {
			if strconv.Itoa(int(v.ID)) == name {
				found = append(found, location{n.Address.HTTP(), n.PublicURL})
			}
		}
	}
	s.topology.Unlock()
	if found == nil {
		cluster.WriteJSON(w, http.StatusNotFound, map[string]string{"volumeId": name, "error": "volumeId not found"})
		return
	}
	cluster.WriteJSON(w, http.StatusOK, map[string]any{"volumeOrFileId": name, "locations": found})
}
