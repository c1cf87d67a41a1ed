package osv

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCommandLine(t *testing.T) {
	advisory := `{"id": "X-1", ` + minimal + `}`
	write := func(job Job) (Report, error) {
		report := Report{Written: 1}
		if job.Set.Advisories[0].ID == "X-2" {
			report.Skip("X-2", "no reason")
		}
		return report, os.WriteFile(filepath.Join(job.Directory, "built"), []byte(job.Built.Format(time.RFC3339)), 0o600)
	}
	cases := map[string]struct {
		advisory  string
		arguments []string
		epoch     string
		code      int
		built     string
		says      string
	}{
		"newest":           {advisory, nil, "", 0, "2026-03-01T00:00:00Z", "1 advisories in the database"},
		"epoch":            {advisory, nil, "1700000000", 0, "2023-11-14T22:13:20Z", ""},
		"flag before both": {advisory, []string{"-built", "2026-05-06T07:08:09+02:00"}, "1", 0, "2026-05-06T05:08:09Z", ""},
		"bad time":         {advisory, []string{"-built", "yesterday"}, "", 1, "", "neither seconds since 1970"},
		"bad advisory":     {"{}", nil, "", 1, "", "a.json"},
		"left out":         {strings.Replace(advisory, "X-1", "X-2", 1), nil, "", 0, "2026-03-01T00:00:00Z", "X-2 is left out: no reason"},
		"strict":           {strings.Replace(advisory, "X-1", "X-2", 1), []string{"-strict"}, "", 1, "", "-strict forbids"},
		"unknown flag":     {advisory, []string{"-x"}, "", 2, "", "not defined"},
		"stray argument":   {advisory, []string{"x"}, "", 2, "", "usage: test-advisorydb"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SOURCE_DATE_EPOCH", test.epoch)
			out := t.TempDir()
			var stderr bytes.Buffer
			arguments := append([]string{"-in", save(t, map[string]string{"a.json": test.advisory}), "-out", out}, test.arguments...)
			if code := Main(arguments, &stderr, "test", "db", write); code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, stderr.String())
			}
			if !strings.Contains(stderr.String(), test.says) {
				t.Errorf("stderr %q, want %q in it", stderr.String(), test.says)
			}
			built, _ := os.ReadFile(filepath.Join(out, "db", "built"))
			if string(built) != test.built {
				t.Errorf("built %q, want %q", built, test.built)
			}
			left, err := os.ReadDir(out)
			if err != nil || test.code != 0 && len(left) != 0 || test.code == 0 && len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestMainNeverWritesOverADatabase(t *testing.T) {
	out := save(t, map[string]string{"db/trivy.db": "old"})
	in := save(t, map[string]string{"a.json": `{"id": "X-1", ` + minimal + `}`})
	var stderr bytes.Buffer
	code := Main([]string{"-in", in, "-out", out}, &stderr, "test", "db", func(Job) (Report, error) {
		t.Fatal("the converter was called")
		return Report{}, nil
	})
	if code != 1 || !strings.Contains(stderr.String(), "exists already") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
