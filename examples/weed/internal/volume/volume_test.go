package volume

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/security"
)

func TestBlobs(t *testing.T) {
	dir := t.TempDir()
	s := &Server{Dirs: []string{dir}, Max: []int{1}, Reporter: &cluster.Reporter{}, JWTKey: "key"}
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	if err := s.allocate(3); err != nil {
		t.Fatal(err)
	}
	if err := s.allocate(4); err == nil {
		t.Error("more volumes than -max")
	}
	do := func(want int, method, path, body, token string) string {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "BEARER "+token)
		w := httptest.NewRecorder()
		s.Public().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s %s: %d", method, path, w.Code)
		}
		return w.Body.String()
	}
	token := security.SignWrite("key", "3,ab", time.Minute)
	do(http.StatusUnauthorized, "PUT", "/3,ab", "x", "")
	do(http.StatusUnauthorized, "PUT", "/3,ac", "x", token)
	do(http.StatusCreated, "PUT", "/3,ab", "hello", token)
	do(http.StatusNotFound, "PUT", "/4,ab", "x", token)
	do(http.StatusNotFound, "GET", "/3,../x", "", "")
	again := &Server{Dirs: s.Dirs, Max: s.Max, Reporter: s.Reporter}
	if err := again.Load(); err != nil {
		t.Fatal(err)
	}
	s = again // as after a restart
	if got := do(http.StatusOK, "GET", "/3,ab", "", ""); got != "hello" {
		t.Errorf("read %q", got)
	}
	if v := s.list(); len(v) != 1 || v[0].Size != 5 || v[0].FileCount != 1 {
		t.Error(v)
	}
	do(http.StatusAccepted, "DELETE", "/3,ab", "", "")
	do(http.StatusNotFound, "GET", "/3,ab", "", "")
	do(http.StatusServiceUnavailable, "GET", "/healthz", "", "") // no master takes its heartbeats
}

func TestCheckDirs(t *testing.T) {
	dir := t.TempDir()
	if err := CheckDirs([]string{dir, filepath.Join(dir, "none")}); err == nil {
		t.Error("a folder that is not there")
	}
	if err := CheckDirs([]string{dir}); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Error("the check leaves files")
	}
}
