package filer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Store, path, content string) Entry {
	t.Helper()
	e, _, err := s.Put(Entry{Path: path}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func content(t *testing.T, s *Store, path string) string {
	t.Helper()
	e, err := s.Get(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "/a", "one")
	put(t, s, "/a", "two")
	put(t, s, "/gone", "x")
	if _, err := s.Delete("/gone"); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(dir, "blobs", "zz-left-by-a-crash")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a second process could open the directory")
	}
	s.Close()
	s = open(t, dir)
	if got := content(t, s, "/a"); got != "two" {
		t.Errorf("read %q", got)
	}
	if _, err := s.Get("/gone"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted file is back: %v", err)
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("a blob that nothing uses is still there")
	}
	blobs := 0
	_ = files(filepath.Join(dir, "blobs"), func(string) error { blobs++; return nil })
	if blobs != 1 {
		t.Errorf("%d blobs for one file", blobs)
	}
}

func TestReaderOutlivesReplacement(t *testing.T) {
	s := open(t, t.TempDir())
	r, err := s.Read(put(t, s, "/a", "old"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "/a", "new")
	if text, err := io.ReadAll(r); err != nil || string(text) != "old" {
		t.Errorf("read %q, %v", text, err)
	}
}

func TestCompose(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var parts []string
	for i, text := range []string{"abc", "", "defg"} {
		path := "/part/" + string(rune('0'+i))
		put(t, s, path, text)
		parts = append(parts, path)
	}
	if _, _, err := s.Compose(Entry{Path: "/whole", ETag: "x-3"}, parts); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(parts[0]); !errors.Is(err, ErrNotFound) {
		t.Error("a part is still there")
	}
	s.Close()
	s = open(t, dir)
	if got := content(t, s, "/whole"); got != "abcdefg" {
		t.Errorf("read %q", got)
	}
	e, _ := s.Get("/whole")
	r, err := s.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Seek(2, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(r); string(text) != "cdefg" {
		t.Errorf("read %q from 2 on", text)
	}
}

func TestNewestWins(t *testing.T) {
	s := open(t, t.TempDir())
	mine := put(t, s, "/a", "mine")
	old := Entry{Path: "/a", Mtime: mine.Mtime - 1, Size: 3, ETag: "149603e6c03516362a8da23f624db945"}
	if _, applied, err := s.Put(old, strings.NewReader("old")); err != nil || applied {
		t.Errorf("an older replica: applied %v, %v", applied, err)
	}
	later := Entry{Path: "/a", Mtime: time.Now().Add(time.Hour).UnixNano(), Size: 3, ETag: "22af645d1859cb5ca6da0c484f1f37ea"}
	if _, _, err := s.Put(later, strings.NewReader("bad")); err == nil {
		t.Error("content that is not what was announced was taken")
	}
	if _, applied, err := s.Put(later, strings.NewReader("new")); err != nil || !applied {
		t.Errorf("a newer replica: applied %v, %v", applied, err)
	}
	if put(t, s, "/a", "own"); content(t, s, "/a") != "own" {
		t.Error("a write after a replica from a clock that runs ahead was lost")
	}
}

func TestList(t *testing.T) {
	s := open(t, t.TempDir())
	for _, path := range []string{"/b/a", "/b/d/1", "/b/d/2", "/b/d/e/3", "/b/e", "/b/f/4", "/c"} {
		put(t, s, path, path)
	}
	for _, c := range []struct {
		ask  ListRequest
		want string
		more bool
	}{
		{ListRequest{Prefix: "/b/", Limit: 9}, "/b/a /b/d/1 /b/d/2 /b/d/e/3 /b/e /b/f/4", false},
		{ListRequest{Prefix: "/b/", Delimiter: "/", Limit: 9}, "/b/a /b/e | /b/d/ /b/f/", false},
		{ListRequest{Prefix: "/b/", Delimiter: "/", Limit: 2}, "/b/a | /b/d/", true},
		{ListRequest{Prefix: "/b/", Delimiter: "/", Limit: 2, After: "/b/d/"}, "/b/e | /b/f/", false},
		{ListRequest{Prefix: "/b/d", Delimiter: "/", Limit: 9}, "| /b/d/", false},
		{ListRequest{Prefix: "/b/", Limit: 2, After: "/b/d/1"}, "/b/d/2 /b/d/e/3", true},
		{ListRequest{Prefix: "/x", Limit: 9}, "", false},
	} {
		page := s.List(c.ask)
		var words []string
		for _, e := range page.Entries {
			words = append(words, e.Path)
		}
		if page.Prefixes != nil {
			words = append(append(words, "|"), page.Prefixes...)
		}
		if got := strings.Join(words, " "); got != c.want || page.Truncated != c.more {
			t.Errorf("%+v: %q, truncated %v", c.ask, got, page.Truncated)
		}
	}
}

func TestChanges(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "/a", "1")
	_, seq := s.Changes(0)
	put(t, s, "/b", "2")
	if _, err := s.Delete("/a"); err != nil {
		t.Fatal(err)
	}
	changed, _ := s.Changes(seq)
	got := slices.Collect(func(yield func(string) bool) {
		for _, e := range changed {
			yield(e.Path)
		}
	})
	if !slices.Equal(got, []string{"/b", "/a"}) || !changed[1].Deleted {
		t.Errorf("changes: %+v", changed)
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	broken := io.MultiReader(bytes.NewReader(make([]byte, 1000)), brokenReader{})
	if _, _, err := s.Put(Entry{Path: "/a"}, broken); err == nil {
		t.Fatal("no error")
	}
	left := 0
	_ = files(filepath.Join(s.dir, "blobs"), func(string) error { left++; return nil })
	if _, err := s.Get("/a"); !errors.Is(err, ErrNotFound) || left != 0 {
		t.Errorf("%v, %d files left", err, left)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the line is dead") }
