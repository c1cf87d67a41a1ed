package volume

import (
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("SeaweedFS_volumeServer_"+name, help, labels, nil)
}

var (
	volumesDesc   = desc("volumes", "Number of volumes or shards.", "collection", "type")
	connectedDesc = desc("connected", "1 when a master takes the heartbeats.")
	resourceDesc  = desc("resource", "Bytes of a disk: all, used, free.", "name", "type")
	errorDesc     = desc("disk_error_status", "1 when a disk cannot be asked.", "name", "type")
	readOnlyDesc  = desc("read_only_volumes", "Number of volumes that cannot be written to.", "collection", "type")
)

// lowPercent is how much of a disk must be free for its volumes to take data, as SeaweedFS' -minFreeSpace.
const lowPercent = 1

// collector asks the disks when somebody looks.
type collector struct{ s *Server }

// Register adds the metrics of the volumes and their disks.
func (s *Server) Register(registry prometheus.Registerer) { registry.MustRegister(collector{s}) }

func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{volumesDesc, connectedDesc, resourceDesc, errorDesc, readOnlyDesc} {
		out <- d
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	volumes, low := c.s.perDir(), 0
	for _, dir := range c.s.Dirs {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			gauge(errorDesc, 1, dir, "error")
			continue
		}
		all, free := st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
		gauge(errorDesc, 0, dir, "error")
		gauge(resourceDesc, float64(all), dir, "all")
		gauge(resourceDesc, float64(all-free), dir, "used")
		gauge(resourceDesc, float64(free), dir, "free")
		if free < all/100*lowPercent {
			low += volumes[dir]
		}
	}
	total := 0
	for _, n := range volumes {
		total += n
	}
	gauge(volumesDesc, float64(total), "", "volume")
	gauge(readOnlyDesc, float64(low), "", "isDiskSpaceLow")
	connected := 0.0
	if c.s.Reporter.Fresh(staleAfter) {
		connected = 1
	}
	gauge(connectedDesc, connected)
}
