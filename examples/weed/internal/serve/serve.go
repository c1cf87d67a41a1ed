// Package serve runs the listeners of one server process: how they open, answer signals and stop.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.org/weed/internal/version"
)

// stopTimeout is how long requests in flight may take once the server stops.
const stopTimeout = 30 * time.Second

// Group is the set of listeners of one process. It ends when its context does, or when one of them fails.
type Group struct {
	Registry *prometheus.Registry

	ctx     context.Context
	failed  chan error
	servers []*http.Server
	mu      sync.Mutex
	stop    []func()
	reload  []func()
}

// NewGroup starts to listen for SIGHUP; the context is what SIGTERM and SIGINT cancel.
func NewGroup(ctx context.Context) *Group {
	g := &Group{Registry: prometheus.NewRegistry(), ctx: ctx, failed: make(chan error, 16)}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "SeaweedFS", Subsystem: "build", Name: "info", Help: "Always 1, labelled with the version.",
		ConstLabels: prometheus.Labels{"version": version.VERSION_NUMBER, "commit": version.COMMIT, "sizelimit": version.SizeLimit},
	})
	build.Set(1)
	g.Registry.MustRegister(build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hup)
		for {
			select {
			case <-hup:
				slog.Info("reload")
				g.run(&g.reload)
			case <-ctx.Done():
				return
			}
		}
	}()
	return g
}

// OnReload adds a hook for SIGHUP.
func (g *Group) OnReload(f func()) { g.add(&g.reload, f) }

// OnStop adds a hook that runs before the listeners close.
func (g *Group) OnStop(f func()) { g.add(&g.stop, f) }

func (g *Group) add(hooks *[]func(), f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*hooks = append(*hooks, f)
}

func (g *Group) run(hooks *[]func()) {
	g.mu.Lock()
	run := append([]func(){}, *hooks...)
	g.mu.Unlock()
	for _, f := range run {
		f()
	}
}

// HTTP listens on host:port, over TLS when config is given, and as well on localhost:port when host is another address.
func (g *Group) HTTP(what, host string, port int, h http.Handler, config *tls.Config) error {
	if port <= 0 || port > 65535 {
		return fmt.Errorf("%s: port %d is not between 1 and 65535", what, port)
	}
	hosts := []string{host}
	switch host {
	case "localhost", "", "0.0.0.0", "127.0.0.1", "::", "[::]", "::1", "[::1]":
	default:
		hosts = append(hosts, "localhost")
	}
	for i, name := range hosts {
		listener, err := net.Listen("tcp", net.JoinHostPort(name, strconv.Itoa(port)))
		if err != nil && i > 0 {
			slog.Info("not on localhost as well", "listener", what, "error", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s failed to listen: %w", what, err)
		}
		g.serve(what, listener, h, config)
	}
	slog.Info("Start Seaweed "+what, "version", version.String(), "host", host, "port", port, "tls", config != nil)
	return nil
}

// Unix listens on a local socket, in place of what an earlier process left there.
func (g *Group) Unix(path string, h http.Handler) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("failed to remove the local socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("failed to listen on the local socket: %w", err)
	}
	g.serve("local socket", listener, h, nil)
	return nil
}

// Metrics serves /metrics for Prometheus; port 0 means not at all.
func (g *Group) Metrics(host string, port int) error {
	if port == 0 {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(g.Registry, promhttp.HandlerOpts{}))
	return g.HTTP("metrics", host, port, mux, nil)
}

func (g *Group) serve(what string, listener net.Listener, h http.Handler, config *tls.Config) {
	server := &http.Server{
		Handler:           h,
		TLSConfig:         config,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	g.servers = append(g.servers, server)
	go func() {
		var err error
		if config != nil {
			err = server.ServeTLS(listener, "", "")
		} else {
			err = server.Serve(listener)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			g.failed <- fmt.Errorf("%s: %w", what, err)
		}
	}()
}

// Wait returns nil after an orderly stop, and the error of the listener that failed otherwise.
func (g *Group) Wait() error {
	var failure error
	select {
	case <-g.ctx.Done():
		slog.Info("stopping", "cause", context.Cause(g.ctx))
	case failure = <-g.failed:
		slog.Error("stopping", "cause", failure)
	}
	g.run(&g.stop)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var wait sync.WaitGroup
	for _, server := range g.servers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if server.Shutdown(ctx) != nil {
				_ = server.Close() // the time is up: requests still in flight are cut
			}
		}()
	}
	wait.Wait()
	return failure
}
