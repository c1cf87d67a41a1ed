package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"
	"github.com/anchore/grype/grype/db/v6/installation"
	grypepkg "github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/search"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/pkg"

	"pipeline.internal/tools/osv"
)

const testdata = "../../osv/testdata"

var built = time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC)

func build(t *testing.T) (string, string) {
	t.Helper()
	out := t.TempDir()
	var stderr strings.Builder
	arguments := []string{"-in", filepath.Join(testdata, "advisories"), "-out", out, "-built", built.Format(time.RFC3339)}
	if code := osv.Main(arguments, &stderr, "grype", "6", convert); code != 0 {
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

func TestGrypeFindsWhatTheAdvisoriesSay(t *testing.T) {
	out, _ := build(t)
	reader, err := v6.NewReader(v6.Config{DBDirPath: filepath.Join(out, "6")})
	if err != nil {
		t.Fatal(err)
	}
	provider := v6.NewVulnerabilityProvider(reader)
	defer provider.Close()
	for _, want := range findings(t) {
		t.Run(want.Name+"@"+want.Version, func(t *testing.T) {
			installed := grypepkg.Package{Name: want.Name, Version: want.Version, Type: pkg.Type(ecosystems[want.Ecosystem])}
			got := look(t, provider, installed)
			if len(want.IDs) == 0 {
				if len(got) != 0 {
					t.Fatalf("found %+v", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("found %d vulnerabilities, want one: %+v", len(got), got)
			}
			check(t, want, got[0])
		})
	}
}

func look(t *testing.T, provider vulnerability.Provider, installed grypepkg.Package) []vulnerability.Vulnerability {
	t.Helper()
	var all []vulnerability.Vulnerability
	names := provider.PackageSearchNames(installed)
	if len(names) == 0 { // Java's come from metadata that only a real archive has.
		names = []string{installed.Name}
	}
	for _, name := range names {
		found, err := provider.FindVulnerabilities(
			search.ByEcosystem("", installed.Type),
			search.ByPackageName(name),
			search.ByVersion(*version.New(installed.Version, grypepkg.VersionFormat(installed))),
		)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func check(t *testing.T, want finding, got vulnerability.Vulnerability) {
	t.Helper()
	ids := []string{got.ID}
	for _, related := range got.RelatedVulnerabilities {
		ids = append(ids, related.ID)
	}
	for _, id := range want.IDs {
		if !slices.Contains(ids, id) {
			t.Errorf("ids %v, want %s", ids, id)
		}
	}
	severity := strings.ToLower(got.Metadata.Severity)
	if expected := strings.Replace(want.Severity, "none", "negligible", 1); expected != "" && severity != expected {
		t.Errorf("severity %s, want %s", severity, expected)
	}
	fixed := strings.Join(got.Fix.Versions, ",")
	if fixed != want.Fixed || (fixed != "") != (got.Fix.State == vulnerability.FixStateFixed) {
		t.Errorf("fix %q (%s), want %q", fixed, got.Fix.State, want.Fixed)
	}
}

func TestGrypeAcceptsTheDatabase(t *testing.T) {
	out, _ := build(t)
	curator, err := installation.NewCurator(
		installation.Config{DBRootDir: out, ValidateChecksum: true, ValidateAge: true, MaxAllowedBuiltAge: time.Since(built) + time.Hour},
		(distribution.Client)(nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	status := curator.Status()
	if status.Error != nil {
		t.Fatal(status.Error)
	}
	if !status.Built.Equal(built) || status.From != "osv" {
		t.Errorf("built %s, from %q", status.Built, status.From)
	}
	before := read(t, out)
	reader, err := curator.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if after := read(t, out); after != before {
		t.Error("grype had to complete the database, so it would fail on a read-only one")
	}
}

func TestTheSameAdvisoriesGiveTheSameBytes(t *testing.T) {
	first, _ := build(t)
	for range 4 {
		again, _ := build(t)
		if read(t, again) != read(t, first) {
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

func TestABadConstraintIsRefused(t *testing.T) {
	job := osv.Job{Built: built, Source: "osv", Directory: t.TempDir(), Set: osv.Set{Advisories: []osv.Advisory{{
		ID:       "X-1",
		Modified: built,
		Affected: []osv.Affected{{
			Package: osv.Package{Ecosystem: "PyPI", Name: "x"},
			Ranges:  []osv.Range{{Type: "ECOSYSTEM", Events: []osv.Event{{Introduced: "1.0 || ("}}}},
		}},
	}}}}
	if _, err := convert(job); err == nil || !strings.Contains(err.Error(), "X-1: x:") {
		t.Errorf("error %v", err)
	}
}

// read returns the contents of both files of the database.
func read(t *testing.T, out string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{v6.VulnerabilityDBFileName, v6.ImportMetadataFileName} {
		file, err := os.Open(filepath.Join(out, "6", name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := io.Copy(&all, file); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
