package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/filer"
	"example.org/weed/internal/s3"
	"example.org/weed/internal/security"
	"example.org/weed/internal/serve"
)

type s3Options struct {
	listen
	filers, config, socket    string
	httpsPort                 int
	certFile, keyFile, caFile string
	verifyClient, deleteFull  bool
	icebergPort, lancePort    int
}

func s3Command(fs *flag.FlagSet, g *globals) func(context.Context) error {
	o := &s3Options{}
	o.declare(fs, 8333)
	fs.StringVar(&o.filers, "filer", "localhost:8888", "comma-separated filer servers; the next one is used when one fails")
	fs.StringVar(&o.config, "config", "", "path to the JSON file of identities")
	fs.StringVar(&o.socket, "localSocket", "", "default to /tmp/seaweedfs-s3-<port>.sock")
	fs.IntVar(&o.httpsPort, "port.https", 0, "s3 server https listen port, next to the http port")
	fs.StringVar(&o.certFile, "cert.file", "", "path to the TLS certificate file")
	fs.StringVar(&o.keyFile, "key.file", "", "path to the TLS private key file")
	fs.StringVar(&o.caFile, "cacert.file", "", "path to the TLS CA certificate file for client certificates")
	fs.BoolVar(&o.verifyClient, "tlsVerifyClientCert", false, "whether to verify the client's certificate")
	fs.BoolVar(&o.deleteFull, "allowDeleteBucketNotEmpty", true, "deleting a bucket deletes its objects")
	fs.IntVar(&o.icebergPort, "port.iceberg", 8181, "answers that there is no Iceberg catalog here; 0 disables")
	fs.IntVar(&o.lancePort, "port.lance", 9101, "answers that there is no Lance namespace here; 0 disables")
	accept(fs, "allowEmptyFolder", true)
	accept(fs, "dataCenter", "")
	return func(ctx context.Context) error { return o.run(ctx, g) }
}

func (o *s3Options) run(ctx context.Context, g *globals) error {
	config := security.Load(g.configDir, "security")
	o.ip = "0.0.0.0"
	o.resolve()
	identities, err := s3.LoadIdentities(o.config)
	if err != nil {
		return err
	}
	filers, err := cluster.ParseAddresses(o.filers)
	if err != nil || len(filers) == 0 {
		return fmt.Errorf("-filer=%s: %w", o.filers, cmp.Or(err, errors.New("no address")))
	}
	clientTLS, err := config.ClientTLS("grpc.client")
	if err != nil {
		return err
	}
	client := &filer.Client{Filers: filers, Client: cluster.NewClient(clientTLS)}
	for client.Ready(ctx) != nil {
		slog.Info("wait to connect to filer", "filer", o.filers)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	group := serve.NewGroup(ctx)
	server := s3.New(client, group.Registry)
	server.DeleteWithBucket = o.deleteFull
	server.SetIdentities(identities)
	group.OnReload(func() {
		if identities, err := s3.LoadIdentities(o.config); err != nil {
			slog.Error("keeping the identities as they are", "error", err)
		} else {
			server.SetIdentities(identities)
		}
	})
	if err := o.open(group, server, config); err != nil {
		return err
	}
	return group.Wait()
}

func (o *s3Options) open(group *serve.Group, server http.Handler, config security.Config) error {
	internalTLS, err := config.ServerTLS("s3")
	if err != nil {
		return err
	}
	if o.socket == "" {
		o.socket = filepath.Join(os.TempDir(), fmt.Sprintf("seaweedfs-s3-%d.sock", o.port))
	}
	publicTLS, err := o.tls()
	if err != nil {
		return err
	}
	plain := publicTLS
	if o.httpsPort != 0 {
		plain = nil
		if publicTLS == nil {
			return errors.New("-port.https needs -cert.file and -key.file")
		}
		if err := group.HTTP("S3 API Server https", o.bind, o.httpsPort, server, publicTLS); err != nil {
			return err
		}
	}
	problems := []error{
		group.Unix(o.socket, server),
		group.HTTP("S3 API Server", o.bind, o.port, server, plain),
		group.HTTP("S3 API Server grpc", o.bind, o.internal, http.NotFoundHandler(), internalTLS),
		o.metrics(group),
	}
	absent := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) })
	for name, port := range map[string]int{"Iceberg catalog": o.icebergPort, "Lance namespace": o.lancePort} {
		if port != 0 {
			problems = append(problems, group.HTTP(name, o.bind, port, absent, nil))
		}
	}
	return errors.Join(problems...)
}

// tls returns the settings of the public port, nil without a certificate. Each connection reads the files again, so that
// a renewed certificate needs no restart.
func (o *s3Options) tls() (*tls.Config, error) {
	if o.keyFile == "" {
		return nil, nil
	}
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: load}
	if o.verifyClient {
		pool, err := security.CertPool(o.caFile)
		if err != nil {
			return nil, err
		}
		config.ClientCAs, config.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return config, nil
}
