package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/security"
	"example.org/weed/internal/serve"
	"example.org/weed/internal/volume"
)

type volumeOptions struct {
	listen
	dirs, max, master, oldMaster    string
	publicPort, preStop             int
	publicURL, dataCenter, rackName string
}

func volumeCommand(fs *flag.FlagSet, g *globals) func(context.Context) error {
	o := &volumeOptions{}
	o.declareIP(fs)
	o.declare(fs, 8080)
	fs.IntVar(&o.publicPort, "port.public", 0, "port opened to public")
	fs.StringVar(&o.publicURL, "publicUrl", "", "publicly accessible address")
	fs.StringVar(&o.dirs, "dir", os.TempDir(), "directories to store data files. dir[,dir]...")
	fs.StringVar(&o.max, "max", "8", "maximum numbers of volumes, count[,count]...; 0 stands for 8")
	fs.StringVar(&o.master, "master", "localhost:9333", "comma-separated master servers")
	fs.StringVar(&o.oldMaster, "mserver", "", "deprecated, for -master")
	fs.IntVar(&o.preStop, "preStopSeconds", 10, "number of seconds between stop send heartbeats and stop volume server")
	fs.StringVar(&o.dataCenter, "dataCenter", "", "current volume server's data center name")
	fs.StringVar(&o.rackName, "rack", "", "current volume server's rack name")
	accept(fs, "dir.idx", "")
	accept(fs, "disk", "")
	accept(fs, "index", "memory")
	accept(fs, "minFreeSpace", "")
	accept(fs, "readMode", "proxy")
	accept(fs, "idleTimeout", 30)
	accept(fs, "fileSizeLimitMB", 256)
	accept(fs, "compactionMBps", 0)
	return func(ctx context.Context) error { return o.run(ctx, g) }
}

// capacity reads -max: one number for all directories, or one for each.
func (o *volumeOptions) capacity(dirs int) ([]int, error) {
	parts := strings.Split(o.max, ",")
	if len(parts) == 1 {
		for len(parts) < dirs {
			parts = append(parts, parts[0])
		}
	}
	if len(parts) != dirs {
		return nil, fmt.Errorf("%d directories by -dir, but only %d max is set by -max", dirs, len(parts))
	}
	var out []int
	for _, part := range parts {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("the max specified in -max not a valid number %s", part)
		}
		if n == 0 {
			n = 8
		}
		out = append(out, n)
	}
	return out, nil
}

func (o *volumeOptions) run(ctx context.Context, g *globals) error {
	config := security.Load(g.configDir, "security")
	security.Load(g.configDir, "volume") // read for the warning: nothing in it matters here
	o.resolve()
	dirs := strings.Split(o.dirs, ",")
	capacity, err := o.capacity(len(dirs))
	if err != nil {
		return err
	}
	if err := volume.CheckDirs(dirs); err != nil {
		return err
	}
	if o.oldMaster != "" {
		slog.Warn("-mserver is deprecated, use -master")
		o.master = o.oldMaster
	}
	report, err := reporter(config, "volume", o.master)
	if err != nil {
		return err
	}
	serverTLS, err := config.ServerTLS("volume")
	if err != nil {
		return err
	}
	if o.publicPort == 0 {
		o.publicPort = o.port
	}
	if o.publicURL == "" {
		o.publicURL = net.JoinHostPort(o.ip, strconv.Itoa(o.publicPort))
	}
	server := &volume.Server{
		Dirs: dirs, Max: capacity, Reporter: report, JWTKey: config.String("jwt.signing.key"),
		Self: cluster.Heartbeat{Kind: "volume", Address: o.address(), PublicURL: o.publicURL, DataCenter: o.dataCenter, Rack: o.rackName},
	}
	if err := server.Load(); err != nil {
		return err
	}
	group := serve.NewGroup(ctx)
	group.OnReload(func() {
		if err := server.Load(); err != nil {
			slog.Error("cannot load new volumes", "error", err)
		}
	})
	group.OnStop(func() {
		server.StopHeartbeats()
		slog.Info("stop send heartbeat and wait until shutdown ...", "seconds", o.preStop)
		time.Sleep(time.Duration(o.preStop) * time.Second)
	})
	server.Register(group.Registry)
	err = errors.Join(
		group.HTTP("volume server", o.bind, o.port, server.Public(), nil),
		group.HTTP("volume server grpc", o.bind, o.internal, server.Internal(), serverTLS),
		o.metrics(group))
	if err == nil && o.publicPort != o.port {
		err = group.HTTP("volume server public", o.bind, o.publicPort, server.Public(), nil)
	}
	if err != nil {
		return err
	}
	go server.Report(ctx)
	return group.Wait()
}
