package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/election"
	"example.org/weed/internal/master"
	"example.org/weed/internal/security"
	"example.org/weed/internal/serve"
	"example.org/weed/internal/volume"
)

const maxVolumeSizeMB = 30_000

type masterOptions struct {
	listen
	dir, peers         string
	sizeLimitMB        uint
	heartbeat, timeout time.Duration
}

func masterCommand(fs *flag.FlagSet, g *globals) func(context.Context) error {
	o := &masterOptions{}
	o.declareIP(fs)
	o.declare(fs, 9333)
	fs.StringVar(&o.dir, "mdir", os.TempDir(), "data directory to store meta data")
	fs.StringVar(&o.peers, "peers", "", "all master nodes in comma separated ip:port list, an odd number with this one; or none")
	fs.UintVar(&o.sizeLimitMB, "volumeSizeLimitMB", maxVolumeSizeMB, "master stops directing writes to oversized volumes")
	fs.DurationVar(&o.heartbeat, "heartbeatInterval", 300*time.Millisecond, "heartbeat interval of master servers, randomly multiplied by [1, 1.25)")
	fs.DurationVar(&o.timeout, "electionTimeout", 10*time.Second, "election timeout of master servers")
	accept(fs, "defaultReplication", "")
	accept(fs, "garbageThreshold", 0.3)
	accept(fs, "resumeState", false)
	accept(fs, "raftHashicorp", false)
	accept(fs, "raftBootstrap", false)
	accept(fs, "volumePreallocate", false)
	accept(fs, "telemetry", false)
	return func(ctx context.Context) error { return o.run(ctx, g) }
}

// seats returns the masters that take part in elections, this one included.
func (o *masterOptions) seats() ([]cluster.Address, error) {
	if o.peers == "none" {
		return []cluster.Address{o.address()}, nil
	}
	peers, err := cluster.ParseAddresses(o.peers)
	if err != nil {
		return nil, err
	}
	self := slices.IndexFunc(peers, func(a cluster.Address) bool { return a.HTTP() == o.address().HTTP() })
	if self >= 0 {
		peers[self] = o.address()
	} else {
		peers = append(peers, o.address())
	}
	if len(peers)%2 == 0 {
		return nil, fmt.Errorf("Only odd number of masters are supported: %v", peers) //nolint:staticcheck // SeaweedFS' words
	}
	return peers, nil
}

func (o *masterOptions) run(ctx context.Context, g *globals) error {
	config := security.Load(g.configDir, "security")
	security.Load(g.configDir, "master") // read for the warning: nothing in it matters here
	o.resolve()
	if o.sizeLimitMB > maxVolumeSizeMB {
		return errors.New("volumeSizeLimitMB should be smaller than 30000")
	}
	if o.heartbeat <= 0 || o.timeout <= o.heartbeat {
		return errors.New("electionTimeout has to be longer than heartbeatInterval, which has to be positive")
	}
	peers, err := o.seats()
	if err != nil {
		return err
	}
	if err := os.Mkdir(o.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("check meta folder (-mdir): %w", err)
	}
	if err := volume.CheckDirs([]string{o.dir}); err != nil {
		return err
	}
	serverTLS, err := config.ServerTLS("master")
	if err != nil {
		return err
	}
	clientTLS, err := config.ClientTLS("grpc.master")
	if err != nil {
		return err
	}
	client := cluster.NewClient(clientTLS)
	node, err := election.New(election.Config{
		Self: o.address(), Peers: peers, Dir: filepath.Join(o.dir, fmt.Sprintf("m%d", o.port)),
		Heartbeat: o.heartbeat, Timeout: o.timeout, Client: client,
	})
	if err != nil {
		return fmt.Errorf("please verify %s is writable: %w", o.dir, err)
	}
	server := master.New(node, client, int64(o.sizeLimitMB)<<20, config.String("jwt.signing.key"))
	group := serve.NewGroup(ctx)
	server.Register(group.Registry)
	group.OnStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		node.Resign(ctx)
	})
	err = errors.Join(
		group.HTTP("master", o.bind, o.port, server.Public(), nil),
		group.HTTP("master grpc", o.bind, o.internal, server.Internal(), serverTLS),
		o.metrics(group))
	if err != nil {
		return err
	}
	go node.Run(ctx)
	return group.Wait()
}
