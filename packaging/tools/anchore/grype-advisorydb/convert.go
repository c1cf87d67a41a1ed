package main

import (
	"fmt"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/name"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/syft/syft/pkg"
	"github.com/spf13/afero"

	"pipeline.internal/tools/osv"
)

// ecosystems maps OSV's ecosystems to the package types that syft finds and grype looks up.
var ecosystems = map[string]string{
	"Go":        string(pkg.GoModulePkg),
	"Hex":       string(pkg.HexPkg),
	"Maven":     string(pkg.JavaPkg),
	"NuGet":     string(pkg.DotnetPkg),
	"Packagist": string(pkg.PhpComposerPkg),
	"Pub":       string(pkg.DartPubPkg),
	"PyPI":      string(pkg.PythonPkg),
	"RubyGems":  string(pkg.GemPkg),
	"crates.io": string(pkg.RustPkg),
	"npm":       string(pkg.NpmPkg),
}

// formats says how the versions of a package type are compared; grype knows the words by version.ParseFormat. The rest
// are semantic versions or close to them.
var formats = map[pkg.Type]version.Format{
	pkg.GemPkg:      version.GemFormat,
	pkg.GoModulePkg: version.GolangFormat,
	pkg.JavaPkg:     version.MavenFormat,
	pkg.PythonPkg:   version.PythonFormat,
}

func convert(job osv.Job) (osv.Report, error) {
	var report osv.Report
	provider := &v6.Provider{
		ID:           job.Source,
		Version:      "1",
		Processor:    "grype-advisorydb",
		DateCaptured: &job.Built,
		InputDigest:  job.Set.Digest,
	}
	store, err := v6.NewWriter(v6.Config{DBDirPath: job.Directory})
	if err != nil {
		return report, err
	}
	for _, advisory := range job.Set.Advisories {
		written, err := write(store, advisory, provider, job.Built, &report)
		if err != nil {
			return report, fmt.Errorf("%s: %w", advisory.ID, err)
		}
		if written {
			report.Written++
		}
	}
	if err := store.Close(); err != nil {
		return report, err
	}
	if err := v6.Hydrater()(job.Directory); err != nil {
		return report, fmt.Errorf("indexes: %w", err)
	}
	if err := canonicalize(job.Directory, job.Built); err != nil {
		return report, err
	}
	_, err = v6.WriteImportMetadata(afero.NewOsFs(), job.Directory, job.Source)
	return report, err
}

// write adds one advisory. It returns false when nothing of it has a place in the database.
func write(
	store v6.Writer, advisory osv.Advisory, provider *v6.Provider, at time.Time, report *osv.Report,
) (bool, error) {
	if advisory.IsWithdrawn(at) {
		report.Skip(advisory.ID, "withdrawn on %s", advisory.Withdrawn.UTC().Format(time.DateOnly))
		return false, nil
	}
	targets, err := advisory.Targets(ecosystems, report)
	if err != nil || len(targets) == 0 {
		return false, err
	}
	handle, err := record(advisory, provider)
	if err != nil {
		return false, err
	}
	if err := store.AddVulnerabilities(handle); err != nil {
		return false, err
	}
	for _, target := range targets {
		if err := affects(store, advisory, target, handle.ID); err != nil {
			return false, fmt.Errorf("%s: %w", target.Name, err)
		}
	}
	return true, nil
}

func record(advisory osv.Advisory, provider *v6.Provider) (*v6.VulnerabilityHandle, error) {
	ratings, err := severities(advisory)
	if err != nil {
		return nil, err
	}
	var references []v6.Reference
	for _, url := range advisory.URLs() {
		references = append(references, v6.Reference{URL: url})
	}
	var aliases []string
	for _, id := range advisory.IDs() {
		if id != advisory.ID {
			aliases = append(aliases, id)
		}
	}
	description := advisory.Summary
	if description == "" {
		description = advisory.Details
	}
	return &v6.VulnerabilityHandle{
		Name:          advisory.ID,
		Status:        v6.VulnerabilityActive,
		PublishedDate: utc(advisory.Published),
		ModifiedDate:  utc(&advisory.Modified),
		ProviderID:    provider.ID,
		Provider:      provider,
		BlobValue: &v6.VulnerabilityBlob{
			ID:          advisory.ID,
			Description: strings.TrimSpace(description),
			References:  references,
			Aliases:     aliases,
			Severities:  ratings,
		},
	}, nil
}

// severities puts the rating first, since grype takes a vulnerability's severity from the first entry and nothing else.
func severities(advisory osv.Advisory) ([]v6.Severity, error) {
	rating, err := advisory.Rating()
	if err != nil {
		return nil, err
	}
	vectors, err := advisory.Vectors()
	if err != nil {
		return nil, err
	}
	var all []v6.Severity
	if rating != osv.Unknown {
		word := rating.String()
		if rating == osv.None {
			word = "negligible"
		}
		all = append(all, v6.Severity{Scheme: v6.SeveritySchemeCHMLN, Value: word, Rank: 1})
	}
	for _, vector := range vectors {
		all = append(all, v6.Severity{
			Scheme: v6.SeveritySchemeCVSS,
			Value:  v6.CVSSSeverity{Vector: vector.Text, Version: vector.Version},
			Rank:   2,
		})
	}
	return all, nil
}

// affects adds one record for each interval of affected versions. In one record for all of them grype would name the fix
// of every interval to each version.
func affects(store v6.Writer, advisory osv.Advisory, target osv.Target, vulnerability v6.ID) error {
	kind := pkg.Type(target.Ecosystem)
	format, ok := formats[kind]
	if !ok {
		format = version.SemanticFormat
	}
	for _, interval := range target.Intervals {
		// Every version satisfies an empty constraint. (">=0" would let v0.0.0-… pass, which sorts before 0.)
		constraint := strings.Join(interval.Constraints(), ",")
		if _, err := version.GetConstraint(constraint, format); err != nil {
			return err
		}
		fix := &v6.Fix{State: v6.NotFixedStatus}
		if interval.Fixed != "" {
			fix = &v6.Fix{State: v6.FixedStatus, Version: interval.Fixed}
		}
		affected := v6.Range{
			Version: v6.Version{Type: strings.ToLower(format.String()), Constraint: constraint},
			Fix:     fix,
		}
		err := store.AddAffectedPackages(&v6.AffectedPackageHandle{
			VulnerabilityID: vulnerability,
			Package:         &v6.Package{Ecosystem: target.Ecosystem, Name: name.Normalize(target.Name, kind)},
			BlobValue:       &v6.PackageBlob{CVEs: advisory.CVEs(), Ranges: []v6.Range{affected}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func utc(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	in := at.UTC()
	return &in
}
