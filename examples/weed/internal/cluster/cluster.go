// Package cluster has what the servers need to talk to each other: addresses, calls and heartbeats.
//
// SeaweedFS speaks gRPC on a second port, 10000 above the first. This server uses the same port for JSON over HTTP.
package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// GRPCOffset is the distance from a server's HTTP port to its internal one, unless that is given.
const GRPCOffset = 10000

// Address names a server: host:port, or host:port.internal when the internal port is not the usual one.
type Address string

// NewAddress joins the parts; an internal port of 0 stands for the usual one.
func NewAddress(host string, port, internal int) Address {
	address := net.JoinHostPort(host, strconv.Itoa(port))
	if internal != 0 && internal != port+GRPCOffset {
		address += "." + strconv.Itoa(internal)
	}
	return Address(address)
}

func (a Address) split() (host string, port, internal int, err error) {
	host, ports, err := net.SplitHostPort(string(a))
	if err != nil {
		return "", 0, 0, err
	}
	first, second, both := strings.Cut(ports, ".")
	if port, err = strconv.Atoi(first); err != nil {
		return "", 0, 0, fmt.Errorf("address %s: %w", a, err)
	}
	internal = port + GRPCOffset
	if both {
		internal, err = strconv.Atoi(second)
	}
	return host, port, internal, err
}

// HTTP returns host:port.
func (a Address) HTTP() string {
	host, port, _, err := a.split()
	if err != nil {
		return string(a)
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// Internal returns host and internal port.
func (a Address) Internal() string {
	host, _, internal, err := a.split()
	if err != nil {
		return string(a)
	}
	return net.JoinHostPort(host, strconv.Itoa(internal))
}

// ParseAddresses splits a comma separated list and checks each part.
func ParseAddresses(list string) ([]Address, error) {
	var out []Address
	for _, part := range strings.Split(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if _, _, _, err := Address(part).split(); err != nil {
			return nil, fmt.Errorf("%q is no host:port: %w", part, err)
		}
		out = append(out, Address(part))
	}
	return out, nil
}

// Client calls the internal port of other servers.
type Client struct {
	HTTP   *http.Client
	scheme string
}

// NewClient uses mutual TLS when config is given. Proxies of the environment are for the outside and not asked.
func NewClient(config *tls.Config) *Client {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: time.Second}).DialContext,
		TLSClientConfig:       config,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: 15 * time.Second, // a stopped process still accepts connections
	}
	c := &Client{HTTP: &http.Client{Transport: transport}, scheme: "http"}
	if config != nil {
		c.scheme = "https"
	}
	return c
}

// URL is where path is found on the internal port of a server.
func (c *Client) URL(to Address, path string) string { return c.scheme + "://" + to.Internal() + path }

// StatusError is an answer other than 2xx.
type StatusError struct {
	Status  int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Message) }

// CheckStatus turns an answer other than 2xx into a StatusError and closes it.
func CheckStatus(r *http.Response) error {
	if r.StatusCode/100 == 2 {
		return nil
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(r.Body, 1000))
	return &StatusError{r.StatusCode, strings.TrimSpace(string(text))}
}

// Call posts in as JSON and decodes the answer into out, which may be nil.
func (c *Client) Call(ctx context.Context, to Address, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL(to, path), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return err
	}
	if err := CheckStatus(response); err != nil {
		return err
	}
	defer response.Body.Close()
	if out == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(out)
}

// WriteJSON answers with a JSON document.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone if this fails
}

// Volume is what a volume server knows of one volume.
type Volume struct {
	ID        uint32 `json:"Id"`
	Size      int64
	FileCount int
}

// Heartbeat is what a volume server or a filer tells the leading master.
type Heartbeat struct {
	Kind       string // "volume" or "filer"
	Address    Address
	PublicURL  string
	DataCenter string
	Rack       string
	Max        int
	Volumes    []Volume
}

// Welcome is the master's answer. A master that does not lead only names the leader.
type Welcome struct {
	Leader   Address
	Accepted bool
	Filers   []Address
}

// ErrNoLeader says that none of the masters knows a leader.
var ErrNoLeader = errors.New("no master leads")

// Reporter sends heartbeats to whichever master leads.
type Reporter struct {
	Masters []Address
	Client  *Client

	mu     sync.Mutex
	leader Address
	last   time.Time
}

// Beat tries the last known leader, then every master, following one hint from each.
func (r *Reporter) Beat(ctx context.Context, beat Heartbeat) (Welcome, error) {
	r.mu.Lock()
	candidates := r.Masters
	if r.leader != "" {
		candidates = append([]Address{r.leader}, r.Masters...)
	}
	r.mu.Unlock()
	problem := ErrNoLeader
	for _, to := range candidates {
		welcome, err := r.try(ctx, to, beat)
		if err == nil && !welcome.Accepted && welcome.Leader != "" {
			to = welcome.Leader
			welcome, err = r.try(ctx, to, beat)
		}
		if err != nil {
			problem = err
			continue
		}
		if welcome.Accepted {
			r.mu.Lock()
			r.leader, r.last = to, time.Now()
			r.mu.Unlock()
			return welcome, nil
		}
	}
	return Welcome{}, problem
}

func (r *Reporter) try(ctx context.Context, to Address, beat Heartbeat) (w Welcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return w, r.Client.Call(ctx, to, "/heartbeat", beat, &w)
}

// Fresh says whether a leader accepted a heartbeat within the given time.
func (r *Reporter) Fresh(within time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.last) < within
}
