// Package osv reads advisories in the Open Source Vulnerability format and works out what they mean for a scanner:
// which versions are affected, which version fixes it, how severe it is.
//
// The format is https://ossf.github.io/osv-schema/ (1.7). Fields that no scanner's database has a place for are
// not read. Everything a person may have got wrong is an error that names the file and the advisory: an advisory that
// was silently dropped would be a hole in the gate that the databases serve.
package osv

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Advisory is one OSV record.
type Advisory struct {
	ID               string           `json:"id"`
	Modified         time.Time        `json:"modified"`
	Published        *time.Time       `json:"published"`
	Withdrawn        *time.Time       `json:"withdrawn"`
	Aliases          []string         `json:"aliases"`
	Summary          string           `json:"summary"`
	Details          string           `json:"details"`
	Severity         []Severity       `json:"severity"`
	Affected         []Affected       `json:"affected"`
	References       []Reference      `json:"references"`
	DatabaseSpecific DatabaseSpecific `json:"database_specific"`
}

// Severity is one rating: the Type says after which scheme, the Score is a vector or a word (schema, severity[]).
type Severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

// Affected is one package and the versions of it that have the vulnerability (schema, affected[]).
type Affected struct {
	Package           Package          `json:"package"`
	Severity          []Severity       `json:"severity"`
	Ranges            []Range          `json:"ranges"`
	Versions          []string         `json:"versions"`
	DatabaseSpecific  DatabaseSpecific `json:"database_specific"`
	EcosystemSpecific DatabaseSpecific `json:"ecosystem_specific"`
}

// Package names a package within an ecosystem, such as "Go" or "PyPI".
type Package struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
}

// Range is a list of events on the line of versions (schema, affected[].ranges[]).
type Range struct {
	Type   string  `json:"type"`
	Events []Event `json:"events"`
}

// Event is one point on the line of versions. Exactly one field is set.
type Event struct {
	Introduced   string `json:"introduced"`
	Fixed        string `json:"fixed"`
	LastAffected string `json:"last_affected"`
	Limit        string `json:"limit"`
}

// Reference is a link of a type such as ADVISORY, FIX or WEB.
type Reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// DatabaseSpecific is what databases agree on among the fields that each may define for itself.
type DatabaseSpecific struct {
	// Severity is a word such as "HIGH". Databases that mean something else by that name are ignored.
	Severity string
	CWEs     []string
}

// UnmarshalJSON reads the two known fields and forgives any other shape, since these objects belong to the databases.
func (d *DatabaseSpecific) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil //nolint:nilerr // not an object: nothing that we know
	}
	var severity string
	if json.Unmarshal(fields["severity"], &severity) == nil {
		d.Severity = severity
	}
	var cwes []string
	if json.Unmarshal(fields["cwe_ids"], &cwes) == nil {
		d.CWEs = cwes
	}
	return nil
}

// Set is what a directory of advisories holds, by id, and the digest of all of it.
type Set struct {
	Advisories []Advisory
	// Modified is when the directory as a whole was last changed, as its index/db.json says; zero without one.
	Modified time.Time
	// Digest is "sha256:" and the digest over the names and contents of all files, in the order of their paths.
	Digest string
}

// Newest returns when the set or its youngest advisory was last modified.
func (s Set) Newest() time.Time {
	newest := s.Modified
	for _, advisory := range s.Advisories {
		if advisory.Modified.After(newest) {
			newest = advisory.Modified
		}
	}
	return newest.UTC()
}

// index has the files of the Go vulnerability database (https://go.dev/security/vuln/database#api) that are no advisories.
var index = map[string]bool{
	filepath.Join("index", "db.json"):      true,
	filepath.Join("index", "modules.json"): true,
	filepath.Join("index", "vulns.json"):   true,
}

// Load reads every advisory below the directory. Its errors name files relative to that directory.
//
// The directory may be laid out as the Go vulnerability database, with its index. In the repository of that database all
// times are zero: its advisories are taken to be as old as index/db.json says that the whole is.
func Load(directory string) (Set, error) {
	paths, err := Files(directory)
	if err != nil {
		return Set{}, err
	}
	modified, err := age(directory)
	if err != nil {
		return Set{}, err
	}
	if len(paths) == 0 {
		return Set{}, fmt.Errorf("%s has no *.json file: a database without advisories would let everything pass", directory)
	}
	digest := sha256.New()
	found := map[string]string{}
	set := Set{Modified: modified}
	for _, path := range paths {
		content, err := os.ReadFile(filepath.Join(directory, path))
		if err != nil {
			return Set{}, err
		}
		advisory, err := parse(content, modified)
		if err != nil {
			return Set{}, fmt.Errorf("%s: %w", path, err)
		}
		if other, ok := found[advisory.ID]; ok {
			return Set{}, fmt.Errorf("%s: %s is already described in %s", path, advisory.ID, other)
		}
		found[advisory.ID] = path
		set.Advisories = append(set.Advisories, advisory)
		sum := sha256.Sum256(content)
		fmt.Fprintf(digest, "%s  %s\n", hex.EncodeToString(sum[:]), filepath.ToSlash(path))
	}
	sort.Slice(set.Advisories, func(i, j int) bool { return set.Advisories[i].ID < set.Advisories[j].ID })
	set.Digest = "sha256:" + hex.EncodeToString(digest.Sum(nil))
	return set, nil
}

// Files returns the paths of all advisories (*.json) below the directory, relative to it, sorted.
func Files(directory string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || filepath.Ext(path) != ".json" {
			return nil
		}
		relative, err := filepath.Rel(directory, path)
		if !index[relative] {
			paths = append(paths, relative)
		}
		return err
	})
	sort.Strings(paths)
	return paths, err
}

// age returns when the whole directory was last changed, or zero when it does not say.
func age(directory string) (time.Time, error) {
	name := filepath.Join("index", "db.json")
	content, err := os.ReadFile(filepath.Join(directory, name))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	var about struct {
		Modified time.Time `json:"modified"`
	}
	if err := json.Unmarshal(content, &about); err != nil || about.Modified.IsZero() {
		return time.Time{}, fmt.Errorf(`%s: "modified" must be a time such as 2026-01-31T12:00:00Z`, name)
	}
	return about.Modified.UTC(), nil
}

// parse returns the advisory in a file. One whose time is zero was modified when the whole directory was.
func parse(content []byte, modified time.Time) (Advisory, error) {
	var advisory Advisory
	decoder := json.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&advisory); err != nil {
		return Advisory{}, fmt.Errorf("not an OSV advisory: %w", err)
	}
	if decoder.More() {
		return Advisory{}, errors.New("not an OSV advisory: more than one JSON value in the file")
	}
	if advisory.Modified.IsZero() {
		advisory.Modified = modified
	}
	if advisory.Published != nil && advisory.Published.IsZero() {
		advisory.Published = nil
	}
	if err := advisory.validate(); err != nil {
		return Advisory{}, err
	}
	return advisory, nil
}

func (a Advisory) validate() error {
	switch {
	case a.ID == "":
		return errors.New(`not an OSV advisory: "id" is missing`)
	case strings.TrimSpace(a.ID) != a.ID:
		return fmt.Errorf("id %q has space around it", a.ID)
	case a.Modified.IsZero():
		return fmt.Errorf(`%s: "modified" is missing or zero, and there is no index/db.json that says how old the whole is`, a.ID)
	case len(a.Affected) == 0:
		return fmt.Errorf(`%s: "affected" is missing or empty, so it is about no package`, a.ID)
	}
	if _, err := a.Rating(); err != nil {
		return fmt.Errorf("%s: %w", a.ID, err)
	}
	for _, affected := range a.Affected {
		if _, err := affected.Intervals(); err != nil {
			return fmt.Errorf("%s: %s: %w", a.ID, affected.Package.Name, err)
		}
	}
	return nil
}

// CVEs returns the CVE identifiers among the id and its aliases, sorted.
func (a Advisory) CVEs() []string {
	return keep(a.IDs(), func(id string) bool { return strings.HasPrefix(id, "CVE-") })
}

// IDs returns the id and all its aliases, sorted, each once.
func (a Advisory) IDs() []string {
	return keep(append([]string{a.ID}, a.Aliases...), func(id string) bool { return id != "" })
}

// URLs returns the addresses of the references in their order, each once.
func (a Advisory) URLs() []string {
	seen := map[string]bool{}
	var urls []string
	for _, reference := range a.References {
		if url := strings.TrimSpace(reference.URL); url != "" && !seen[url] {
			seen[url] = true
			urls = append(urls, url)
		}
	}
	return urls
}

// IsWithdrawn says whether the advisory no longer holds at that time.
func (a Advisory) IsWithdrawn(at time.Time) bool {
	return a.Withdrawn != nil && !a.Withdrawn.After(at)
}

func keep(ids []string, want func(string) bool) []string {
	seen := map[string]bool{}
	var kept []string
	for _, id := range ids {
		if want(id) && !seen[id] {
			seen[id] = true
			kept = append(kept, id)
		}
	}
	sort.Strings(kept)
	return kept
}
