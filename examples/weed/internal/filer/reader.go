package filer

import (
	"errors"
	"io"
	"os"
	"sort"
)

// reader presents the chunks of an entry as one file. It holds them all open: an entry that is replaced meanwhile is
// still read to its end.
type reader struct {
	*io.SectionReader
	files []*os.File
	start []int64 // where each file begins; one more than files, for the end
}

// Read opens the content of an entry.
func (s *Store) Read(e Entry) (io.ReadSeekCloser, error) {
	r := &reader{start: []int64{0}}
	for _, c := range e.Chunks {
		file, err := os.Open(s.blobFile(c.Blob))
		if err != nil {
			r.Close()
			return nil, err
		}
		r.files = append(r.files, file)
		r.start = append(r.start, r.start[len(r.start)-1]+c.Size)
	}
	r.SectionReader = io.NewSectionReader(chunks{r}, 0, r.start[len(r.start)-1])
	return r, nil
}

func (r *reader) Close() error {
	var problems []error
	for _, f := range r.files {
		problems = append(problems, f.Close())
	}
	return errors.Join(problems...)
}

// chunks gives a reader's files an io.ReaderAt, which the section reader builds on.
type chunks struct{ *reader }

func (c chunks) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		i := sort.Search(len(c.files), func(i int) bool { return c.start[i+1] > off })
		if i == len(c.files) {
			return n, io.EOF
		}
		part := p[n:min(len(p), n+int(c.start[i+1]-off))]
		got, err := c.files[i].ReadAt(part, off-c.start[i])
		n, off = n+got, off+int64(got)
		if err != nil && got < len(part) {
			return n, err
		}
	}
	return n, nil
}
