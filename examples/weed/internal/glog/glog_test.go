package glog

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestLine(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(&handler{out: &out, level: slog.LevelInfo, mu: &sync.Mutex{}}).With("a", 1)
	log.Warn("message", "path", "/x\nE0101 forged", "b", "c")
	log.Debug("unseen")
	want := `^W\d{4} \d\d:\d\d:\d\d\.\d{6} glog_test\.go:\d+ message a=1 path="/x\\nE0101 forged" b=c\n$`
	if !regexp.MustCompile(want).MatchString(out.String()) {
		t.Errorf("%q", out.String())
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	before := slog.Default()
	defer slog.SetDefault(before)
	if err := Setup(Options{Dir: dir, JSON: true}); err != nil {
		t.Fatal(err)
	}
	slog.Info("written")
	text, err := os.ReadFile(filepath.Join(dir, "weed.INFO"))
	if err != nil || !strings.Contains(string(text), `"msg":"written"`) {
		t.Errorf("%q, %v", text, err)
	}
	if err := Setup(Options{Dir: filepath.Join(dir, "none")}); err == nil {
		t.Error("a log folder that is not there")
	}
}
