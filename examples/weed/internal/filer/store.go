package filer

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// tombstoneTTL is how long the filer remembers what was deleted. A filer that was away for longer may bring it back.
const tombstoneTTL = 24 * time.Hour

// ErrNotFound says that there is no such file.
var ErrNotFound = errors.New("no such file")

// Store keeps content in blobs/, one file per chunk, and entries in entries/, one JSON file per path, with an index of all
// entries in memory. Everything is written aside, synced and renamed, so that a crash leaves the old or the new.
type Store struct {
	dir   string
	epoch string // changes with every start, since sequence numbers do
	lock  *os.File

	mu      sync.RWMutex
	entries map[string]*Entry
	live    []string // the paths of what is not deleted, sorted
	seq     uint64
	clock   int64
}

// Open loads the index. Only one process may have a directory open.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, epoch: uuid.NewString(), entries: map[string]*Entry{}}
	for _, sub := range []string{"blobs", "entries"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, err
		}
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o640); err != nil {
		return nil, err
	}
	if err = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		err = s.load()
	} else {
		err = fmt.Errorf("%s is in use by another filer: %w", dir, err)
	}
	if err != nil {
		s.lock.Close()
		return nil, err
	}
	return s, nil
}

// Close lets another process open the directory.
func (s *Store) Close() error { return s.lock.Close() }

// Check says whether the directory can be written to.
func (s *Store) Check() error {
	file, err := os.CreateTemp(s.dir, ".check-*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

func (s *Store) load() error {
	used := map[string]bool{}
	expired := time.Now().Add(-tombstoneTTL).UnixNano()
	err := files(filepath.Join(s.dir, "entries"), func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		e := &Entry{}
		if err := json.Unmarshal(text, e); err != nil || s.entryFile(e.Path) != path {
			slog.Warn("removing what a crash left", "file", path)
			return os.Remove(path)
		}
		if e.Deleted && e.Mtime < expired {
			return os.Remove(path)
		}
		s.put(e)
		for _, c := range e.Chunks {
			used[c.Blob] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return files(filepath.Join(s.dir, "blobs"), func(path string) error {
		if used[filepath.Base(path)] {
			return nil
		}
		return os.Remove(path)
	})
}

func files(dir string, visit func(path string) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return visit(path)
	})
}

func (s *Store) entryFile(path string) string {
	sum := sha256.Sum256([]byte(path))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(s.dir, "entries", name[:2], name+".json")
}

func (s *Store) blobFile(blob string) string { return filepath.Join(s.dir, "blobs", blob[:2], blob) }

// put changes the index, which the caller has locked, and returns what was there before.
func (s *Store) put(e *Entry) *Entry {
	s.seq++
	s.clock = max(s.clock, e.Mtime)
	e.seq = s.seq
	old := s.entries[e.Path]
	s.entries[e.Path] = e
	i, listed := slices.BinarySearch(s.live, e.Path)
	if e.Deleted && listed {
		s.live = slices.Delete(s.live, i, i+1)
	} else if !e.Deleted && !listed {
		s.live = slices.Insert(s.live, i, e.Path)
	}
	return old
}

// now is later than every time in the store, even when the system clock was set back.
func (s *Store) now() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = max(s.clock+1, time.Now().UnixNano())
	return s.clock
}

// Get returns the entry of a path.
func (s *Store) Get(path string) (Entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[path]; e != nil && !e.Deleted {
		return *e, nil
	}
	return Entry{}, ErrNotFound
}

// wants says whether an entry of another filer is news.
func (s *Store) wants(e *Entry) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return e.newer(s.entries[e.Path])
}

// Put stores content under e.Path. An entry that has an Mtime already comes from another filer and keeps it, with its ETag
// and Size, which the content has to match; applied is false when what is there is newer.
func (s *Store) Put(e Entry, content io.Reader) (result Entry, applied bool, err error) {
	replica := e.Mtime != 0
	e.Chunks = nil
	if !e.Dir && !e.Deleted {
		chunk, sum, err := s.blob(content)
		if err != nil {
			return e, false, err
		}
		etag := hex.EncodeToString(sum.Sum(nil))
		if replica && (chunk.Size != e.Size || (!strings.Contains(e.ETag, "-") && etag != e.ETag)) {
			os.Remove(s.blobFile(chunk.Blob))
			return e, false, fmt.Errorf("%s: the content is not what the other filer announced", e.Path)
		}
		if !replica {
			e.ETag = etag
		}
		e.Size, e.Chunks = chunk.Size, []Chunk{chunk}
	}
	if !replica {
		e.Mtime = s.now()
	}
	applied, err = s.commit(&e, nil)
	return e, applied, err
}

// Delete leaves a tombstone, so that other filers hear of it.
func (s *Store) Delete(path string) (Entry, error) {
	if _, err := s.Get(path); err != nil {
		return Entry{}, err
	}
	e := Entry{Path: path, Deleted: true, Mtime: s.now()}
	_, err := s.commit(&e, nil)
	return e, err
}

// Compose makes e.Path from the chunks of other files, which disappear. No content is copied.
func (s *Store) Compose(e Entry, parts []string) (Entry, []Entry, error) {
	e.Size, e.Chunks = 0, nil
	keep := map[string]bool{}
	for _, path := range parts {
		part, err := s.Get(path)
		if err != nil {
			return e, nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, c := range part.Chunks {
			keep[c.Blob] = true
		}
		e.Size, e.Chunks = e.Size+part.Size, append(e.Chunks, part.Chunks...)
	}
	e.Mtime = s.now()
	if _, err := s.commit(&e, nil); err != nil {
		return e, nil, err
	}
	var gone []Entry
	for _, path := range parts {
		t := Entry{Path: path, Deleted: true, Mtime: s.now()}
		if _, err := s.commit(&t, keep); err != nil {
			return e, gone, err
		}
		gone = append(gone, t)
	}
	return e, gone, nil
}

// commit makes e durable and visible, unless what is there is newer, and drops the content that nothing uses any more.
func (s *Store) commit(e *Entry, keep map[string]bool) (applied bool, err error) {
	text, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	target := s.entryFile(e.Path)
	file, err := create(filepath.Dir(target), ".new-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return false, err
	}
	drop := e
	s.mu.Lock()
	if e.newer(s.entries[e.Path]) {
		if err = os.Rename(file.Name(), target); err == nil {
			applied, drop = true, s.put(e)
		}
	}
	s.mu.Unlock()
	if drop != nil {
		for _, c := range drop.Chunks {
			if !keep[c.Blob] && !(applied && slices.Contains(e.Chunks, c)) {
				os.Remove(s.blobFile(c.Blob)) // readers have it open; after a crash, load does this
			}
		}
	}
	return applied, err
}

// create makes a temporary file and, the first time, the directory that it goes into.
func create(dir, pattern string) (*os.File, error) {
	file, err := os.CreateTemp(dir, pattern)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o750); err == nil {
			file, err = os.CreateTemp(dir, pattern)
		}
	}
	return file, err
}

func (s *Store) blob(content io.Reader) (Chunk, hash.Hash, error) {
	chunk := Chunk{Blob: uuid.NewString()}
	target := s.blobFile(chunk.Blob)
	file, err := create(filepath.Dir(target), ".new-*")
	if err != nil {
		return chunk, nil, err
	}
	defer os.Remove(file.Name())
	sum := md5.New() // S3's ETag is an MD5; nothing relies on it for security
	chunk.Size, err = io.Copy(io.MultiWriter(file, sum), content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return chunk, nil, err
	}
	return chunk, sum, os.Rename(file.Name(), target)
}
