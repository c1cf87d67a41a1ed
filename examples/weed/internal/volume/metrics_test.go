package volume

import (
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/weed/internal/cluster"
)

func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone")
	s := &Server{Dirs: []string{dir, gone}, Max: []int{2, 2}, Reporter: &cluster.Reporter{}}
	s.volumes = map[uint32]string{3: filepath.Join(dir, "v3"), 4: filepath.Join(dir, "v4")}
	registry := prometheus.NewRegistry()
	s.Register(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.Metric {
			key := family.GetName()
			for _, label := range metric.Label {
				key += " " + label.GetValue()
			}
			got[key] = metric.Gauge.GetValue()
		}
	}
	const prefix = "SeaweedFS_volumeServer_"
	if got[prefix+"volumes  volume"] != 2 {
		t.Error("volumes", got)
	}
	if got[prefix+"disk_error_status "+dir+" error"] != 0 || got[prefix+"disk_error_status "+gone+" error"] != 1 {
		t.Error("the folder that is gone", got)
	}
	all, used, free := got[prefix+"resource "+dir+" all"], got[prefix+"resource "+dir+" used"], got[prefix+"resource "+dir+" free"]
	if all <= 0 || used+free != all {
		t.Errorf("used %v + free %v of %v", used, free, all)
	}
}
