package filer

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// Chunk is one blob file of an entry.
type Chunk struct {
	Blob string
	Size int64
}

// Entry describes one file. The newest Mtime wins wherever two filers disagree.
type Entry struct {
	Path    string
	Size    int64
	ETag    string            // MD5 in hex; "md5 of md5s-parts" when composed
	Mtime   int64             // nanoseconds since 1970
	Mime    string            `json:",omitempty"`
	Meta    map[string]string `json:",omitempty"`
	Dir     bool              `json:",omitempty"`
	Deleted bool              `json:",omitempty"`
	Chunks  []Chunk           `json:",omitempty"`

	seq uint64 // order of arrival at this filer
}

func (e *Entry) newer(than *Entry) bool {
	return than == nil || e.Mtime > than.Mtime || (e.Mtime == than.Mtime && e.ETag > than.ETag)
}

// Changes returns what arrived after a sequence number, tombstones included, and the number to ask with next.
func (s *Store) Changes(since uint64) (changed []Entry, seq uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if since == s.seq {
		return nil, s.seq
	}
	for _, e := range s.entries {
		if e.seq > since {
			changed = append(changed, *e)
			changed[len(changed)-1].Chunks = nil // they mean nothing elsewhere
		}
	}
	slices.SortFunc(changed, func(a, b Entry) int { return cmp.Compare(a.seq, b.seq) })
	return changed, s.seq
}

// ListRequest asks for the files below Prefix that come after After. With a Delimiter, what contains it after the prefix
// is folded into one common prefix.
type ListRequest struct {
	Prefix, After, Delimiter string
	Limit                    int
}

// ListReply has at most Limit entries and prefixes, in order.
type ListReply struct {
	Entries   []Entry
	Prefixes  []string
	Truncated bool
	Next      string // After of the next request
}

// List reads the index.
func (s *Store) List(r ListRequest) (out ListReply) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := sort.SearchStrings(s.live, max(r.Prefix, r.After))
	for i < len(s.live) && strings.HasPrefix(s.live[i], r.Prefix) {
		path, folded := s.live[i], false
		if at := strings.Index(path[len(r.Prefix):], r.Delimiter); r.Delimiter != "" && at >= 0 {
			path, folded = path[:len(r.Prefix)+at+len(r.Delimiter)], true
		}
		if path > r.After {
			if len(out.Entries)+len(out.Prefixes) >= r.Limit {
				out.Truncated = true
				return out
			}
			out.Next = path
			if folded {
				out.Prefixes = append(out.Prefixes, path)
			} else {
				out.Entries = append(out.Entries, *s.entries[path])
			}
		}
		if i++; folded { // no path contains the byte 0xff, so this is past all that begin with the common prefix
			i = sort.SearchStrings(s.live, path+"\xff")
		}
	}
	return out
}
