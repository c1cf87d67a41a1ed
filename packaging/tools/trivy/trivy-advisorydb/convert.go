package main

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/bucket"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/vulnerability"

	"pipeline.internal/tools/osv"
)

// ecosystems maps OSV's ecosystems to trivy's.
var ecosystems = map[string]string{
	"Go":        string(vulnerability.Go),
	"Hex":       string(vulnerability.Erlang),
	"Maven":     string(vulnerability.Maven),
	"NuGet":     string(vulnerability.NuGet),
	"Packagist": string(vulnerability.Composer),
	"Pub":       string(vulnerability.Pub),
	"PyPI":      string(vulnerability.Pip),
	"RubyGems":  string(vulnerability.RubyGems),
	"crates.io": string(vulnerability.Cargo),
	"npm":       string(vulnerability.Npm),
}

// severities maps ratings to trivy's, which has no word for a vulnerability without impact.
var severities = map[osv.Rating]types.Severity{
	osv.Unknown:  types.SeverityUnknown,
	osv.None:     types.SeverityLow,
	osv.Low:      types.SeverityLow,
	osv.Medium:   types.SeverityMedium,
	osv.High:     types.SeverityHigh,
	osv.Critical: types.SeverityCritical,
}

// everyVersion is what trivy takes for "affected, whatever the version". (">=0" would let v0.0.0-… pass, which sorts
// before 0.)
const everyVersion = ""

// place is where an advisory is kept: an ecosystem of a source, and a package of it.
type place struct{ bucket, name string }

// content is the whole database. A vulnerability that several advisories describe is one entry, since trivy would keep
// the last one and forget the others.
type content struct {
	source          types.SourceID
	advisories      map[place]map[string]types.Advisory
	vulnerabilities map[string]types.Vulnerability
}

// identity is what the report says of a finding besides its id: trivy itself drops the aliases of libraries.
type identity struct {
	IDs []string `json:"IDs"`
}

func convert(job osv.Job) (osv.Report, error) {
	var report osv.Report
	all := content{
		source:          types.SourceID(job.Source),
		advisories:      map[place]map[string]types.Advisory{},
		vulnerabilities: map[string]types.Vulnerability{},
	}
	for _, advisory := range job.Set.Advisories {
		if advisory.IsWithdrawn(job.Built) {
			report.Skip(advisory.ID, "withdrawn on %s", advisory.Withdrawn.UTC().Format(time.DateOnly))
			continue
		}
		targets, err := advisory.Targets(ecosystems, &report)
		if err == nil && len(targets) > 0 {
			report.Written++
			err = all.add(advisory, targets)
		}
		if err != nil {
			return report, fmt.Errorf("%s: %w", advisory.ID, err)
		}
	}
	return report, all.write(job.Directory, job.Built)
}

// add files the advisory under its CVE identifiers, as trivy's own database does, or under its own id if it has none.
func (c content) add(advisory osv.Advisory, targets []osv.Target) error {
	detail, err := c.vulnerability(advisory)
	if err != nil {
		return err
	}
	keys := advisory.CVEs()
	if len(keys) == 0 {
		keys = []string{advisory.ID}
	}
	for _, key := range keys {
		if known, ok := c.vulnerabilities[key]; ok {
			c.vulnerabilities[key] = c.mergeDetails(known, detail)
		} else {
			c.vulnerabilities[key] = detail
		}
		for _, target := range targets {
			ecosystem := types.Ecosystem(target.Ecosystem)
			at := place{
				bucket: bucket.Name(ecosystem, string(c.source)),
				name:   vulnerability.NormalizePkgName(ecosystem, target.Name),
			}
			if c.advisories[at] == nil {
				c.advisories[at] = map[string]types.Advisory{}
			}
			c.advisories[at][key] = merge(c.advisories[at][key], affected(advisory, target))
		}
	}
	return nil
}

func affected(advisory osv.Advisory, target osv.Target) types.Advisory {
	result := types.Advisory{Custom: identity{IDs: advisory.IDs()}}
	for _, interval := range target.Intervals {
		constraint := strings.Join(interval.Constraints(), ", ")
		if constraint == "" {
			constraint = everyVersion
		}
		result.VulnerableVersions = append(result.VulnerableVersions, constraint)
		if interval.Fixed != "" {
			result.PatchedVersions = append(result.PatchedVersions, interval.Fixed)
		}
	}
	return result
}

func merge(known, more types.Advisory) types.Advisory {
	known.VulnerableVersions = union(known.VulnerableVersions, more.VulnerableVersions)
	known.PatchedVersions = union(known.PatchedVersions, more.PatchedVersions)
	before, _ := known.Custom.(identity)
	ids := union(before.IDs, more.Custom.(identity).IDs)
	sort.Strings(ids)
	known.Custom = identity{IDs: ids}
	return known
}

func (c content) vulnerability(advisory osv.Advisory) (types.Vulnerability, error) {
	rating, err := advisory.Rating()
	if err != nil {
		return types.Vulnerability{}, err
	}
	vectors, err := advisory.Vectors()
	if err != nil {
		return types.Vulnerability{}, err
	}
	cwes := slices.Clone(advisory.DatabaseSpecific.CWEs)
	sort.Strings(cwes)
	detail := types.Vulnerability{
		Title:            strings.TrimSpace(advisory.Summary),
		Description:      strings.TrimSpace(advisory.Details),
		CweIDs:           slices.Compact(cwes),
		References:       advisory.URLs(),
		PublishedDate:    utc(advisory.Published),
		LastModifiedDate: utc(&advisory.Modified),
	}
	if rating != osv.Unknown {
		detail.Severity = severities[rating].String()
		detail.VendorSeverity = types.VendorSeverity{c.source: severities[rating]}
	}
	if len(vectors) > 0 {
		detail.CVSS = types.VendorCVSS{c.source: scores(vectors)}
	}
	return detail, nil
}

// scores keeps the worst vector of each major version of CVSS; trivy has room for one.
func scores(vectors []osv.Vector) types.CVSS {
	var result types.CVSS
	for _, vector := range vectors {
		text, score := &result.V3Vector, &result.V3Score
		switch vector.Version {
		case "2.0":
			text, score = &result.V2Vector, &result.V2Score
		case "4.0":
			text, score = &result.V40Vector, &result.V40Score
		}
		if *text == "" || vector.Score > *score {
			*text, *score = vector.Text, vector.Score
		}
	}
	return result
}

// mergeDetails keeps what the first advisory says, with the worst severity of both and all references.
func (c content) mergeDetails(known, more types.Vulnerability) types.Vulnerability {
	severity, ok := more.VendorSeverity[c.source]
	if current, rated := known.VendorSeverity[c.source]; ok && (!rated || severity > current) {
		known.Severity, known.VendorSeverity, known.CVSS = more.Severity, more.VendorSeverity, more.CVSS
	}
	known.References = union(known.References, more.References)
	known.CweIDs = union(known.CweIDs, more.CweIDs)
	return known
}

func union(a, b []string) []string {
	result := slices.Clone(a)
	for _, item := range b {
		if !slices.Contains(result, item) {
			result = append(result, item)
		}
	}
	return result
}

func utc(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	in := at.UTC()
	return &in
}

// places returns the places in a stable order.
func (c content) places() []place {
	return slices.SortedFunc(maps.Keys(c.advisories), func(a, b place) int {
		if order := strings.Compare(a.bucket, b.bucket); order != 0 {
			return order
		}
		return strings.Compare(a.name, b.name)
	})
}
