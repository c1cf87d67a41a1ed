package osv

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const minimal = `"modified": "2026-03-01T00:00:00Z", "affected": [{"package": {"ecosystem": "Go", "name": "example.org/m"},
	"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]`

func save(t *testing.T, files map[string]string) string {
	t.Helper()
	directory := t.TempDir()
	for name, content := range files {
		path := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func TestLoadReadsEveryFileOnceAndIgnoresOthers(t *testing.T) {
	directory := save(t, map[string]string{
		"b.json":         `{"id": "EXAMPLE-2", "aliases": ["GHSA-1", "CVE-1", "CVE-1"], ` + minimal + `}`,
		"deep/er/a.json": `{"id": "EXAMPLE-1", ` + strings.Replace(minimal, "03-01", "04-02", 1) + `}`,
		"README.md":      "no advisory",
	})
	set, err := Load(directory)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Advisories) != 2 || set.Advisories[0].ID != "EXAMPLE-1" || set.Advisories[1].ID != "EXAMPLE-2" {
		t.Fatalf("got %+v", set.Advisories)
	}
	if want := []string{"CVE-1", "EXAMPLE-2", "GHSA-1"}; !reflect.DeepEqual(set.Advisories[1].IDs(), want) {
		t.Errorf("ids %v, want %v", set.Advisories[1].IDs(), want)
	}
	if want := []string{"CVE-1"}; !reflect.DeepEqual(set.Advisories[1].CVEs(), want) {
		t.Errorf("CVEs %v, want %v", set.Advisories[1].CVEs(), want)
	}
	if want := time.Date(2026, 4, 2, 0, 0, 0, 0, time.UTC); !set.Newest().Equal(want) {
		t.Errorf("newest %v, want %v", set.Newest(), want)
	}
	again, err := Load(directory)
	if err != nil || again.Digest != set.Digest || !strings.HasPrefix(set.Digest, "sha256:") {
		t.Errorf("digest %q and %q, error %v", set.Digest, again.Digest, err)
	}
}

func TestTheGoVulnerabilityDatabaseIsAsOldAsItsIndexSays(t *testing.T) {
	zero := strings.Replace(minimal, "2026-03-01", "0001-01-01", 1) + `, "published": "0001-01-01T00:00:00Z"`
	directory := save(t, map[string]string{
		"ID/GO-1.json":       `{"id": "GO-1", ` + zero + `}`,
		"ID/GO-2.json":       `{"id": "GO-2", ` + minimal + `}`,
		"index/db.json":      `{"modified": "2026-08-21T20:38:00Z"}`,
		"index/modules.json": `[{"path": "example.org/m", "vulns": [{"id": "GO-1"}]}]`,
		"index/vulns.json":   `[{"id": "GO-1"}]`,
	})
	set, err := Load(directory)
	if err != nil {
		t.Fatal(err)
	}
	whole := time.Date(2026, 8, 21, 20, 38, 0, 0, time.UTC)
	if len(set.Advisories) != 2 || !set.Advisories[0].Modified.Equal(whole) || set.Advisories[0].Published != nil {
		t.Errorf("got %+v", set.Advisories)
	}
	if want := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC); !set.Advisories[1].Modified.Equal(want) {
		t.Errorf("its own time %v, want %v", set.Advisories[1].Modified, want)
	}
	if !set.Newest().Equal(whole) {
		t.Errorf("newest %v, want %v", set.Newest(), whole)
	}
}

func TestLoadRefusesWhatWouldLeaveAHole(t *testing.T) {
	event := func(events string) string {
		return `{"id": "X-1", "modified": "2026-03-01T00:00:00Z", "affected": [{"package": {"ecosystem": "Go",
			"name": "example.org/m"}, "ranges": [{"type": "SEMVER", "events": [` + events + `]}]}]}`
	}
	cases := map[string]struct {
		files map[string]string
		want  string
	}{
		"no file":     {map[string]string{"x.txt": ""}, "no *.json file"},
		"not JSON":    {map[string]string{"x.json": "{"}, "x.json: not an OSV advisory"},
		"two values":  {map[string]string{"x.json": `{"id": "X-1", ` + minimal + `} {}`}, "more than one JSON value"},
		"no id":       {map[string]string{"x.json": `{` + minimal + `}`}, `"id" is missing`},
		"space in id": {map[string]string{"x.json": `{"id": "X-1 ", ` + minimal + `}`}, "space around"},
		"no date":     {map[string]string{"x.json": `{"id": "X-1", "affected": [{}]}`}, `"modified" is missing`},
		"a zero date": {
			map[string]string{"x.json": `{"id": "X-1", ` + strings.Replace(minimal, "2026-03-01", "0001-01-01", 1) + `}`},
			"no index/db.json that says how old",
		},
		"an index without a date": {
			map[string]string{"x.json": `{"id": "X-1", ` + minimal + `}`, "index/db.json": `{}`},
			`db.json: "modified" must be a time`,
		},
		"nothing affected": {map[string]string{"x.json": `{"id": "X-1", "modified": "2026-03-01T00:00:00Z"}`}, "no package"},
		"same id twice": {
			map[string]string{"a.json": `{"id": "X-1", ` + minimal + `}`, "b.json": `{"id": "X-1", ` + minimal + `}`},
			"b.json: X-1 is already described in a.json",
		},
		"bad vector": {
			map[string]string{"x.json": `{"id": "X-1", "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:Q"}], ` + minimal + `}`},
			"X-1: severity CVSS_V3",
		},
		"vector of another version": {
			map[string]string{"x.json": `{"id": "X-1", "severity": [{"type": "CVSS_V4", "score":
				"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}], ` + minimal + `}`},
			"not a vector of that version",
		},
		"no events":        {map[string]string{"x.json": event(``)}, "a range without events"},
		"end before start": {map[string]string{"x.json": event(`{"fixed": "1.0.0"}`)}, "never introduced"},
		"two in one":       {map[string]string{"x.json": event(`{"introduced": "0", "fixed": "1.0.0"}`)}, "must have one of"},
		"not semantic":     {map[string]string{"x.json": event(`{"introduced": "0"}, {"fixed": "one"}`)}, `"one" is not a semantic`},
		"unknown range": {
			map[string]string{"x.json": strings.Replace(event(`{"introduced": "0"}`), "SEMVER", "FREE", 1)},
			`range type "FREE"`,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Load(save(t, test.files))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestIntervals(t *testing.T) {
	semver := func(events ...Event) Affected {
		return Affected{Package: Package{Ecosystem: "Go"}, Ranges: []Range{{Type: "SEMVER", Events: events}}}
	}
	cases := map[string]struct {
		affected Affected
		want     []Interval
	}{
		"never fixed":   {semver(Event{Introduced: "0"}), []Interval{{}}},
		"fixed":         {semver(Event{Introduced: "0"}, Event{Fixed: "1.2.3"}), []Interval{{Fixed: "1.2.3"}}},
		"last affected": {semver(Event{Introduced: "1.0.0"}, Event{LastAffected: "1.2.3"}), []Interval{{From: "1.0.0", Last: "1.2.3"}}},
		"one version":   {semver(Event{LastAffected: "1.0.0"}, Event{Introduced: "1.0.0"}), []Interval{Exactly("1.0.0")}},
		"two branches in any order": {
			semver(Event{Fixed: "1.21.9"}, Event{Introduced: "1.22.0-0"}, Event{Introduced: "0"}, Event{Fixed: "1.22.2"}),
			[]Interval{{Fixed: "1.21.9"}, {From: "1.22.0-0", Fixed: "1.22.2"}},
		},
		"introduced again where it was fixed": {
			semver(Event{Introduced: "1.0.0"}, Event{Introduced: "2.0.0"}, Event{Fixed: "2.0.0"}),
			[]Interval{{From: "1.0.0", Fixed: "2.0.0"}, {From: "2.0.0"}},
		},
		"limit":    {semver(Event{Introduced: "0"}, Event{Limit: "2.0.0"}), []Interval{{Limit: "2.0.0"}}},
		"no limit": {semver(Event{Introduced: "0"}, Event{Limit: "*"}), []Interval{{}}},
		"listed": {
			Affected{
				Package:  Package{Ecosystem: "Go"},
				Versions: []string{"1.0.0", "3.0.0", "v3.1.0"},
				Ranges:   []Range{{Type: "SEMVER", Events: []Event{{Introduced: "0"}, {Fixed: "2.0.0"}}}},
			},
			[]Interval{{Fixed: "2.0.0"}, Exactly("3.0.0"), Exactly("v3.1.0")},
		},
		"order of another ecosystem": {
			Affected{
				Package: Package{Ecosystem: "PyPI"},
				Ranges:  []Range{{Type: "ECOSYSTEM", Events: []Event{{Introduced: "1!0.9"}, {Fixed: "1!1.0.post1"}}}},
			},
			[]Interval{{From: "1!0.9", Fixed: "1!1.0.post1"}},
		},
		"commits only": {Affected{Ranges: []Range{{Type: "GIT", Events: []Event{{Introduced: "0"}}}}}, nil},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := test.affected.Intervals()
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestConstraints(t *testing.T) {
	cases := map[string]Interval{
		"":                 {},
		"<1.2.3":           {Fixed: "1.2.3"},
		">=1.0.0 <1.2.3":   {From: "1.0.0", Fixed: "1.2.3"},
		">=1.0.0 <=1.2.3":  {From: "1.0.0", Last: "1.2.3"},
		">=1.0.0 <2.0.0-0": {From: "1.0.0", Limit: "2.0.0-0"},
		"=1.0.0":           Exactly("1.0.0"),
	}
	for want, interval := range cases {
		if got := strings.Join(interval.Constraints(), " "); got != want {
			t.Errorf("%+v gives %q, want %q", interval, got, want)
		}
	}
}

// The scores are those of the specifications' own examples and of FIRST's calculators.
func TestRating(t *testing.T) {
	const (
		high31     = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"  // 7.5
		critical31 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/" // 9.8, and a slash that some databases add
		medium30   = "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"  // 6.1
		none31     = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"  // 0.0
		low40      = "CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"
		top20      = "AV:N/AC:L/Au:N/C:C/I:C/A:C" // 10.0, which is High: 2.0 has no Critical
	)
	v3 := func(vector string) []Severity { return []Severity{{Type: "CVSS_V3", Score: vector}} }
	cases := map[string]struct {
		advisory Advisory
		want     Rating
	}{
		"nobody said":     {Advisory{}, Unknown},
		"high":            {Advisory{Severity: v3(high31)}, High},
		"critical":        {Advisory{Severity: v3(critical31)}, Critical},
		"medium, 3.0":     {Advisory{Severity: v3(medium30)}, Medium},
		"no impact":       {Advisory{Severity: v3(none31)}, None},
		"low, 4.0":        {Advisory{Severity: []Severity{{Type: "CVSS_V4", Score: low40}}}, Low},
		"2.0":             {Advisory{Severity: []Severity{{Type: "CVSS_V2", Score: top20}}}, High},
		"worst of two":    {Advisory{Severity: append(v3(medium30), v3(critical31)...)}, Critical},
		"of a package":    {Advisory{Severity: v3(medium30), Affected: []Affected{{Severity: v3(high31)}}}, High},
		"word wins":       {Advisory{Severity: v3(critical31), DatabaseSpecific: DatabaseSpecific{Severity: "MODERATE"}}, Medium},
		"foreign word":    {Advisory{Severity: v3(high31), DatabaseSpecific: DatabaseSpecific{Severity: "S2"}}, High},
		"word of package": {Advisory{Affected: []Affected{{EcosystemSpecific: DatabaseSpecific{Severity: "Low"}}}}, Low},
		"word as type":    {Advisory{Severity: []Severity{{Type: "Ubuntu", Score: "high"}}}, High},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := test.advisory.Rating(); err != nil || got != test.want {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestDatabaseSpecificForgivesOtherShapes(t *testing.T) {
	for _, text := range []string{`{"severity": 3, "cwe_ids": "CWE-1"}`, `[]`, `"x"`, `null`, `{}`} {
		var specific DatabaseSpecific
		if err := specific.UnmarshalJSON([]byte(text)); err != nil || specific.Severity != "" || specific.CWEs != nil {
			t.Errorf("%s gives %+v, %v", text, specific, err)
		}
	}
}

func TestTargetsJoinsWhatIsAboutOnePackageAndReportsTheRest(t *testing.T) {
	ranges := []Range{{Type: "SEMVER", Events: []Event{{Introduced: "0"}, {Fixed: "1.0.0"}}}}
	advisory := Advisory{ID: "X-1", Affected: []Affected{
		{Package: Package{Ecosystem: "Go", Name: "a"}, Ranges: ranges},
		{Package: Package{Ecosystem: "Maven:https://repo.example.org", Name: "b:b"}, Ranges: ranges},
		{Package: Package{Ecosystem: "Go", Name: "a"}, Versions: []string{"2.0.0"}},
		{Package: Package{Ecosystem: "Debian:12", Name: "c"}, Ranges: ranges},
	}}
	var report Report
	targets, err := advisory.Targets(map[string]string{"Go": "golang", "Maven": "jar"}, &report)
	want := []Target{
		{Ecosystem: "golang", Name: "a", Intervals: []Interval{{Fixed: "1.0.0"}, Exactly("2.0.0")}},
		{Ecosystem: "jar", Name: "b:b", Intervals: []Interval{{Fixed: "1.0.0"}}},
	}
	if err != nil || !reflect.DeepEqual(targets, want) {
		t.Errorf("got %+v, %v; want %+v", targets, err, want)
	}
	if !strings.Contains(report.Skipped["X-1"], `"Debian:12"`) {
		t.Errorf("skipped %v", report.Skipped)
	}
}
