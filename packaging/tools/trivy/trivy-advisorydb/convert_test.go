package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy/pkg/detector/library"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/aquasecurity/trivy/pkg/vulnerability"

	"pipeline.internal/tools/osv"
)

const testdata = "../../osv/testdata"

var built = time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC)

// kinds says as what trivy finds a package of one of OSV's ecosystems.
var kinds = map[string]ftypes.LangType{
	"Go":    ftypes.GoBinary,
	"Maven": ftypes.Jar,
	"PyPI":  ftypes.PythonPkg,
	"npm":   ftypes.NodePkg,
}

func build(t *testing.T) (string, string) {
	t.Helper()
	out := t.TempDir()
	var stderr strings.Builder
	arguments := []string{"-in", filepath.Join(testdata, "advisories"), "-out", out, "-built", built.Format(time.RFC3339)}
	if code := osv.Main(arguments, &stderr, "trivy", "db", convert); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	return out, stderr.String()
}

// finding is what testdata/findings.json says that a scanner has to report of a package, or with no ids that it must not.
type finding struct {
	Ecosystem, Name, Version string
	IDs                      []string
	Severity, Fixed          string
}

func findings(t *testing.T) []finding {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(testdata, "findings.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []finding
	if err := json.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTrivyFindsWhatTheAdvisoriesSay(t *testing.T) {
	out, _ := build(t)
	if err := db.Init(filepath.Join(out, "db")); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, want := range findings(t) {
		t.Run(want.Name+"@"+want.Version, func(t *testing.T) {
			driver, ok := library.NewDriver(kinds[want.Ecosystem])
			if !ok {
				t.Fatalf("no driver for %s", want.Ecosystem)
			}
			// trivy writes the version of the standard library without "go".
			got, err := driver.DetectVulnerabilities("", want.Name, strings.TrimPrefix(want.Version, "go"))
			if err != nil {
				t.Fatal(err)
			}
			if len(want.IDs) == 0 {
				if len(got) != 0 {
					t.Fatalf("found %+v", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("found %d vulnerabilities, want one: %+v", len(got), got)
			}
			vulnerability.NewClient(db.Config{}).FillInfo(got)
			check(t, want, got[0])
		})
	}
}

func check(t *testing.T, want finding, got types.DetectedVulnerability) {
	t.Helper()
	var carried struct{ IDs []string }
	encoded, err := json.Marshal(got.Custom)
	if err == nil {
		err = json.Unmarshal(encoded, &carried)
	}
	if err != nil {
		t.Fatal(err)
	}
	ids := append(carried.IDs, got.VulnerabilityID)
	for _, id := range want.IDs {
		if !slices.Contains(ids, id) {
			t.Errorf("ids %v, want %s", ids, id)
		}
	}
	severity := strings.ToLower(got.Severity)
	if expected := strings.Replace(want.Severity, "none", "low", 1); expected != "" && severity != expected {
		t.Errorf("severity %s, want %s", severity, expected)
	}
	// trivy names the fixes of all branches.
	if fixes := strings.Split(got.FixedVersion, ", "); !slices.Contains(fixes, want.Fixed) {
		t.Errorf("fixed in %q, want %q", fixes, want.Fixed)
	}
}

func TestAnIdSharedByTwoAdvisoriesKeepsTheWorst(t *testing.T) {
	out, _ := build(t)
	if err := db.Init(filepath.Join(out, "db")); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	detail, err := db.Config{}.GetVulnerability("CVE-1900-1006")
	if err != nil {
		t.Fatal(err)
	}
	if detail.Severity != "CRITICAL" || detail.CVSS["osv"].V3Score != 9.8 {
		t.Errorf("got %s, %v", detail.Severity, detail.CVSS)
	}
}

func TestMetadata(t *testing.T) {
	out, _ := build(t)
	got, err := metadata.NewClient(filepath.Join(out, "db")).Get()
	if err != nil {
		t.Fatal(err)
	}
	want := metadata.Metadata{Version: 2, UpdatedAt: built, DownloadedAt: built, NextUpdate: built.Add(24 * time.Hour)}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTheSameAdvisoriesGiveTheSameBytes(t *testing.T) {
	read := func(out string) string {
		content, err := os.ReadFile(filepath.Join(out, "db", "trivy.db"))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	first, _ := build(t)
	for range 9 {
		again, _ := build(t)
		if read(again) != read(first) {
			t.Fatal("the databases differ")
		}
	}
}

func TestWhatCannotBeRepresentedIsSaid(t *testing.T) {
	_, said := build(t)
	for _, line := range []string{
		"EXAMPLE-1008 is left out: withdrawn on 2026-06-01",
		`EXAMPLE-1012 is left out: ecosystem "Debian:12" of package "openssl" is not supported`,
		"12 advisories in the database",
	} {
		if !strings.Contains(said, line) {
			t.Errorf("%q is not in %q", line, said)
		}
	}
}
