package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"pipeline.internal/tools/osv"
)

// ecosystem is the only one that govulncheck knows.
const ecosystem = "Go"

// plainID is an identifier that is also the name of a file.
var plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// entry is an advisory as the database has it (https://go.dev/security/vuln/database#schema).
type entry struct {
	SchemaVersion string          `json:"schema_version"`
	ID            string          `json:"id"`
	Modified      time.Time       `json:"modified"`
	Published     *time.Time      `json:"published,omitempty"`
	Aliases       []string        `json:"aliases,omitempty"`
	Summary       string          `json:"summary,omitempty"`
	Details       string          `json:"details"`
	Affected      []affected      `json:"affected"`
	References    []osv.Reference `json:"references,omitempty"`
}

type affected struct {
	Package           osv.Package `json:"package"`
	Ranges            []versions  `json:"ranges"`
	EcosystemSpecific specific    `json:"ecosystem_specific"`
}

type versions struct {
	Type   string  `json:"type"`
	Events []event `json:"events"`
}

type event struct {
	Introduced string `json:"introduced,omitempty"`
	Fixed      string `json:"fixed,omitempty"`
}

// specific is which packages of a module, and which of their symbols, have the vulnerability. Without any, all have it.
type specific struct {
	Imports []struct {
		Path    string   `json:"path"`
		GOOS    []string `json:"goos,omitempty"`
		GOARCH  []string `json:"goarch,omitempty"`
		Symbols []string `json:"symbols,omitempty"`
	} `json:"imports,omitempty"`
}

// module and weakness are the elements of index/modules.json and index/vulns.json.
type module struct {
	Path  string        `json:"path"`
	Vulns []moduleEntry `json:"vulns"`
}

type moduleEntry struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`
}

type weakness struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases,omitempty"`
}

// convert writes the database below job.Directory. `in` is the directory that the advisories were read from.
func convert(job osv.Job, in string) (osv.Report, error) {
	var report osv.Report
	imports, err := readImports(in)
	if err != nil {
		return report, err
	}
	modules := map[string]*module{}
	weaknesses := []weakness{}
	for _, advisory := range job.Set.Advisories {
		if advisory.IsWithdrawn(job.Built) {
			report.Skip(advisory.ID, "withdrawn on %s", advisory.Withdrawn.UTC().Format(time.DateOnly))
			continue
		}
		converted, err := convertOne(advisory, imports[advisory.ID], &report)
		if err == nil && len(converted.Affected) > 0 {
			err = write(filepath.Join(job.Directory, "ID", advisory.ID+".json"), converted)
			weaknesses = append(weaknesses, weakness{converted.ID, converted.Modified, converted.Aliases})
			converted.list(modules)
			report.Written++
		}
		if err != nil {
			return report, fmt.Errorf("%s: %w", advisory.ID, err)
		}
	}
	return report, writeIndex(filepath.Join(job.Directory, "index"), job.Built, modules, weaknesses)
}

func convertOne(advisory osv.Advisory, imports []specific, report *osv.Report) (entry, error) {
	converted := entry{
		SchemaVersion: "1.3.1",
		ID:            advisory.ID,
		Modified:      advisory.Modified.UTC(),
		Published:     advisory.Published,
		Aliases:       advisory.Aliases,
		Summary:       advisory.Summary,
		Details:       advisory.Details,
		References:    advisory.References,
	}
	if !plainID.MatchString(advisory.ID) {
		return entry{}, fmt.Errorf("the id %q cannot be the name of a file", advisory.ID)
	}
	for number, about := range advisory.Affected {
		if about.Package.Ecosystem != ecosystem {
			report.Skip(advisory.ID, "ecosystem %q of package %q is not Go", about.Package.Ecosystem, about.Package.Name)
			continue
		}
		intervals, err := about.Intervals()
		if err != nil {
			return entry{}, err
		}
		if len(intervals) == 0 {
			report.Skip(advisory.ID, "no version of %q is named as affected", about.Package.Name)
			continue
		}
		ranges := make([]versions, 0, len(intervals))
		for _, interval := range intervals {
			ranges = append(ranges, rangeOf(interval))
		}
		converted.Affected = append(converted.Affected, affected{about.Package, ranges, imports[number]})
	}
	return converted, nil
}

// rangeOf returns an interval in the two kinds of events that govulncheck knows: where it begins, and the first version
// that is not in it any more.
func rangeOf(interval osv.Interval) versions {
	events := []event{{Introduced: cmp.Or(plain(interval.From), "0")}}
	switch end := cmp.Or(interval.Fixed, interval.Limit); {
	case end != "":
		events = append(events, event{Fixed: plain(end)})
	case interval.Last != "":
		events = append(events, event{Fixed: next(plain(interval.Last))})
	}
	return versions{Type: "SEMVER", Events: events}
}

// plain returns a version as the database writes it: in three parts and without a v.
func plain(version string) string {
	if version == "" {
		return ""
	}
	canonical := semver.Canonical("v" + strings.TrimPrefix(version, "v"))
	return cmp.Or(strings.TrimPrefix(canonical, "v"), version)
}

// next returns the lowest version above one (Semantic Versioning 2.0.0, section 11): the first pre-release of the next
// patch, or of a pre-release the same with one more field.
func next(version string) string {
	if strings.Contains(version, "-") {
		return version + ".0"
	}
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return version
	}
	return fmt.Sprintf("%d.%d.%d-0", major, minor, patch+1)
}

// list files the advisory under its modules. `Fixed` is the version from which nothing of it holds any more, if any.
func (e entry) list(modules map[string]*module) {
	for _, about := range e.Affected {
		path := about.Package.Name
		if modules[path] == nil {
			modules[path] = &module{Path: path}
		}
		listed := modules[path]
		last := len(listed.Vulns) - 1
		if last >= 0 && listed.Vulns[last].ID == e.ID {
			listed.Vulns[last].Fixed = "" // described in two places: its entry says which versions
			continue
		}
		listed.Vulns = append(listed.Vulns, moduleEntry{e.ID, e.Modified, lastFix(about.Ranges)})
	}
}

func lastFix(ranges []versions) string {
	var last string
	for _, one := range ranges {
		fixed := one.Events[len(one.Events)-1].Fixed
		if fixed == "" {
			return ""
		}
		if last == "" || semver.Compare("v"+fixed, "v"+last) > 0 {
			last = fixed
		}
	}
	return last
}

// readImports returns what the files below a directory say about symbols: by id, for each element of `affected`.
func readImports(directory string) (map[string][]specific, error) {
	found := map[string][]specific{}
	paths, err := osv.Files(directory)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		content, err := os.ReadFile(filepath.Join(directory, path))
		if err != nil {
			return nil, err
		}
		var advisory struct {
			ID       string
			Affected []struct {
				Package  osv.Package
				Specific json.RawMessage `json:"ecosystem_specific"`
			}
		}
		if err := json.Unmarshal(content, &advisory); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all := make([]specific, len(advisory.Affected))
		for number, about := range advisory.Affected {
			if about.Package.Ecosystem != ecosystem || len(about.Specific) == 0 {
				continue // what another ecosystem means by the field is its own affair
			}
			if err := json.Unmarshal(about.Specific, &all[number]); err != nil {
				return nil, fmt.Errorf("%s: ecosystem_specific of %s: %w", path, about.Package.Name, err)
			}
		}
		found[advisory.ID] = all
	}
	return found, nil
}

func writeIndex(directory string, built time.Time, modules map[string]*module, weaknesses []weakness) error {
	sorted := make([]*module, 0, len(modules))
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		sorted = append(sorted, modules[path])
	}
	about := map[string]time.Time{"modified": built}
	for name, value := range map[string]any{"db.json": about, "modules.json": sorted, "vulns.json": weaknesses} {
		if err := write(filepath.Join(directory, name), value); err != nil {
			return err
		}
	}
	return nil
}

func write(path string, value any) error {
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
