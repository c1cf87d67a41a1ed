package main

import (
	"flag"
	"net"
	"strings"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/security"
	"example.org/weed/internal/serve"
)

// listen are the flags that all servers share.
type listen struct {
	ip, bind, metricsIP         string
	port, internal, metricsPort int
}

func (l *listen) declare(fs *flag.FlagSet, port int) {
	fs.IntVar(&l.port, "port", port, "http listen port")
	fs.IntVar(&l.internal, "port.grpc", 0, "listen port for the other servers (default: http port + 10000)")
	fs.StringVar(&l.bind, "ip.bind", "", "ip address to bind to (default: same as -ip; s3: all)")
	fs.IntVar(&l.metricsPort, "metricsPort", 0, "Prometheus metrics listen port")
	fs.StringVar(&l.metricsIP, "metricsIp", "", "metrics listen ip (default: same as -ip.bind)")
}

func (l *listen) declareIP(fs *flag.FlagSet) {
	fs.StringVar(&l.ip, "ip", detectedAddress(), "ip or server name, also used as identifier")
}

// resolve fills in what follows from the other flags.
func (l *listen) resolve() {
	if l.internal == 0 {
		l.internal = l.port + cluster.GRPCOffset
	}
	if l.bind == "" {
		l.bind = l.ip
	}
	if l.metricsIP == "" {
		l.metricsIP = l.bind
	}
}

func (l *listen) address() cluster.Address { return cluster.NewAddress(l.ip, l.port, l.internal) }

// detectedAddress is the first address that is not a loopback.
func detectedAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "localhost" // a sandbox without AF_NETLINK
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "localhost"
}

// masters parses the list of masters, which must not be empty.
func masters(list string) ([]cluster.Address, error) {
	addresses, err := cluster.ParseAddresses(strings.TrimSpace(list))
	if err == nil && len(addresses) == 0 {
		err = cluster.ErrNoLeader
	}
	return addresses, err
}

// reporter makes the client side of the heartbeats.
func reporter(config security.Config, role, list string) (*cluster.Reporter, error) {
	addresses, err := masters(list)
	if err != nil {
		return nil, err
	}
	tls, err := config.ClientTLS("grpc." + role)
	if err != nil {
		return nil, err
	}
	return &cluster.Reporter{Masters: addresses, Client: cluster.NewClient(tls)}, nil
}

// metrics opens the metrics port.
func (l *listen) metrics(g *serve.Group) error { return g.Metrics(l.metricsIP, l.metricsPort) }
