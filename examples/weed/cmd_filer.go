package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"example.org/weed/internal/filer"
	"example.org/weed/internal/security"
	"example.org/weed/internal/serve"
)

type filerOptions struct {
	listen
	master, dir, socket string
	readOnlyPort        int
}

func filerCommand(fs *flag.FlagSet, g *globals) func(context.Context) error {
	o := &filerOptions{}
	o.declareIP(fs)
	o.declare(fs, 8888)
	fs.StringVar(&o.master, "master", "localhost:9333", "comma-separated master servers")
	fs.StringVar(&o.dir, "defaultStoreDir", ".", "the files are kept in the folder filerstore below this directory")
	fs.StringVar(&o.socket, "localSocket", "", "default to /tmp/seaweedfs-filer-<port>.sock")
	fs.IntVar(&o.readOnlyPort, "port.readonly", 0, "port that only reads")
	accept(fs, "collection", "")
	accept(fs, "dataCenter", "")
	accept(fs, "rack", "")
	accept(fs, "defaultReplicaPlacement", "")
	accept(fs, "dirListLimit", 100000)
	accept(fs, "maxMB", 4)
	accept(fs, "filerGroup", "")
	return func(ctx context.Context) error { return o.run(ctx, g) }
}

func (o *filerOptions) run(ctx context.Context, g *globals) error {
	config := security.Load(g.configDir, "security")
	security.Load(g.configDir, "filer") // read for the warning: nothing in it matters here
	o.resolve()
	report, err := reporter(config, "filer", o.master)
	if err != nil {
		return err
	}
	serverTLS, err := config.ServerTLS("filer")
	if err != nil {
		return err
	}
	store, err := filer.Open(filepath.Join(o.dir, "filerstore"))
	if err != nil {
		return fmt.Errorf("filer store: %w", err)
	}
	defer store.Close()
	group := serve.NewGroup(ctx)
	server := filer.NewServer(store, o.address(), report, group.Registry)
	if o.socket == "" {
		o.socket = filepath.Join(os.TempDir(), fmt.Sprintf("seaweedfs-filer-%d.sock", o.port))
	}
	// The internal port comes first: other filers push what is new while this one catches up.
	err = errors.Join(
		group.HTTP("filer grpc", o.bind, o.internal, server.Internal(), serverTLS),
		o.metrics(group))
	if err != nil {
		return err
	}
	server.Join(ctx)
	if ctx.Err() == nil {
		err = errors.Join(
			group.Unix(o.socket, server.Public()),
			group.HTTP("filer", o.bind, o.port, server.Public(), nil))
		if err == nil && o.readOnlyPort != 0 {
			err = group.HTTP("filer read-only", o.bind, o.readOnlyPort, readOnly(server.Public()), nil)
		}
		if err != nil {
			return err
		}
		go server.Run(ctx)
	}
	return group.Wait()
}

func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}
