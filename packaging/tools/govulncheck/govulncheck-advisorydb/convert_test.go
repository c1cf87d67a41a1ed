package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pipeline.internal/tools/osv"
)

const testdata = "../../osv/testdata"

var built = time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC)

func build(t *testing.T, in string) (string, string, int) {
	t.Helper()
	out := t.TempDir()
	var stderr strings.Builder
	arguments := []string{"-in", in, "-out", out, "-built", built.Format(time.RFC3339)}
	code := osv.Main(arguments, &stderr, "govulncheck", "v1", func(job osv.Job) (osv.Report, error) {
		return convert(job, input(arguments))
	})
	return filepath.Join(out, "v1"), stderr.String(), code
}

// query returns the ids that govulncheck itself finds in a database for one version of a module.
func query(t *testing.T, database, module, version string) []string {
	t.Helper()
	command := exec.Command("go", "tool", "govulncheck", "-mode=query", "-format=json", "-db=file://"+database, module+"@"+version)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s@%s: %v", module, version, err)
	}
	var ids []string
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var message struct {
			OSV *struct {
				ID      string
				Aliases []string
			}
		}
		if err := decoder.Decode(&message); err != nil {
			t.Fatal(err)
		}
		if message.OSV != nil {
			ids = append(ids, message.OSV.ID)
			ids = append(ids, message.OSV.Aliases...)
		}
	}
	return ids
}

func TestGovulncheckFindsWhatTheAdvisoriesSayAndNothingElse(t *testing.T) {
	database, stderr, code := build(t, filepath.Join(testdata, "advisories"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	content, err := os.ReadFile(filepath.Join(testdata, "findings.json"))
	if err != nil {
		t.Fatal(err)
	}
	var findings []struct {
		Ecosystem, Name, Version string
		IDs                      []string
	}
	if err := json.Unmarshal(content, &findings); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, finding := range findings {
		if finding.Ecosystem != ecosystem {
			continue
		}
		asked++
		found := query(t, database, finding.Name, finding.Version)
		if len(finding.IDs) == 0 && len(found) > 0 {
			t.Errorf("%s %s: found %v", finding.Name, finding.Version, found)
		}
		for _, id := range finding.IDs {
			if !slices.Contains(found, id) {
				t.Errorf("%s %s: found %v, not %s", finding.Name, finding.Version, found, id)
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d findings are about Go", asked)
	}
	for _, reason := range []string{"withdrawn on", `ecosystem "Debian:12"`, `ecosystem "npm"`} {
		if !strings.Contains(stderr, reason) {
			t.Errorf("nothing is said of %s: %s", reason, stderr)
		}
	}
}

const symbols = `{"id": "X-1", "modified": "2026-06-01T00:00:00Z", "affected": [
  {"package": {"ecosystem": "npm", "name": "a"}, "ecosystem_specific": "anything",
   "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]},
  {"package": {"ecosystem": "Go", "name": "example.org/a"},
   "ranges": [{"type": "SEMVER", "events": [{"introduced": "1.0.0-rc.1"}, {"last_affected": "1.1.0-rc.1"}]}],
   "ecosystem_specific": {"imports": [{"path": "example.org/a/b", "goos": ["linux"], "symbols": ["F", "T.M"]}]}}]}`

func advisories(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "advisory.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestSymbolsAndVersionsArriveInTheLayoutOfTheGoDatabase(t *testing.T) {
	database, stderr, code := build(t, advisories(t, symbols))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for name, want := range map[string]string{
		"index/db.json":      `{"modified":"2026-07-01T12:30:00Z"}`,
		"index/modules.json": `[{"path":"example.org/a","vulns":[{"id":"X-1","modified":"2026-06-01T00:00:00Z","fixed":"1.1.0-rc.1.0"}]}]`,
		"index/vulns.json":   `[{"id":"X-1","modified":"2026-06-01T00:00:00Z"}]`,
		"ID/X-1.json": `{"schema_version":"1.3.1","id":"X-1","modified":"2026-06-01T00:00:00Z","details":"","affected":[` +
			`{"package":{"ecosystem":"Go","name":"example.org/a"},"ranges":[{"type":"SEMVER","events":[` +
			`{"introduced":"1.0.0-rc.1"},{"fixed":"1.1.0-rc.1.0"}]}],"ecosystem_specific":{"imports":[` +
			`{"path":"example.org/a/b","goos":["linux"],"symbols":["F","T.M"]}]}}]}`,
	} {
		if got, err := os.ReadFile(filepath.Join(database, name)); err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
	}
}

func TestTheSameAdvisoriesGiveTheSameBytes(t *testing.T) {
	one, _, _ := build(t, filepath.Join(testdata, "advisories"))
	two, _, _ := build(t, filepath.Join(testdata, "advisories"))
	if done, err := exec.Command("diff", "-r", one, two).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, done)
	}
}

func TestWhatCannotBeRepresentedStopsTheConversion(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"symbols that are none": {`["F", "T.M"]`, `"F"`, "ecosystem_specific of example.org/a"},
		"an id with a path":     {`"X-1"`, `"../X-1"`, "cannot be the name of a file"},
	} {
		t.Run(name, func(t *testing.T) {
			database, stderr, code := build(t, advisories(t, strings.Replace(symbols, test.old, test.new, 1)))
			if _, err := os.Stat(database); code != 1 || err == nil || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

func TestNextIsTheLowestVersionAbove(t *testing.T) {
	for version, want := range map[string]string{"1.3.0": "1.3.1-0", "1.3.0-rc.1": "1.3.0-rc.1.0"} {
		if got := next(version); got != want {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
}
