package s3

import (
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"

	"example.org/weed/internal/filer"
)

// passed are the headers of a request that the filer answers to.
var passed = []string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"}

// kept are the headers of an upload that come back with the object, next to X-Amz-Meta-*.
var kept = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}

// getObject is GetObject and HeadObject.
func (s *Server) getObject(c *call) error {
	ask := http.Header{}
	for _, name := range passed {
		if v := c.r.Header.Values(name); v != nil {
			ask[name] = v
		}
	}
	response, err := s.Filer.Fetch(c.r.Context(), c.r.Method, c.path(), ask)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified:
	case http.StatusNotFound:
		return errNoSuchKey
	case http.StatusPreconditionFailed:
		return errPrecondition
	case http.StatusRequestedRangeNotSatisfiable:
		return errInvalidRange
	default:
		return errInternal
	}
	e, err := filer.DecodeEntry(response.Header)
	if err != nil {
		return err
	}
	h := c.Header()
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified"} {
		if v := response.Header.Values(name); v != nil {
			h[name] = v
		}
	}
	whole := c.r.Header.Get("Range") == "" && strings.EqualFold(c.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED")
	for name, value := range e.Meta {
		if _, sum := checksums[name]; !sum || whole {
			h.Set(name, value)
		}
	}
	for name, values := range c.r.URL.Query() {
		if header, overrides := strings.CutPrefix(name, "response-"); overrides && c.sig != nil {
			h[http.CanonicalHeaderKey(header)] = values
		}
	}
	c.WriteHeader(response.StatusCode)
	if _, err = io.Copy(c.ResponseWriter, response.Body); err != nil {
		slog.Info("s3 answer cut short", "path", c.r.URL.Path, "error", err) // the length was sent, so the client notices
	}
	return nil
}

// attributes collects what an upload says about the object beside its content.
func attributes(c *call) filer.Entry {
	e := filer.Entry{Path: c.path(), Mime: c.r.Header.Get("Content-Type"), Meta: map[string]string{}}
	for name, values := range c.r.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			e.Meta[name] = strings.Join(values, ",")
		}
	}
	for _, name := range kept {
		if v := c.r.Header.Get(name); v != "" {
			e.Meta[name] = v
		}
	}
	// aws-chunked is how the body travelled, not what it is.
	if v, found := e.Meta["Content-Encoding"]; found {
		v = strings.Trim(strings.ReplaceAll(strings.ReplaceAll(v, "aws-chunked", ""), " ", ""), ",")
		if e.Meta["Content-Encoding"] = v; v == "" {
			delete(e.Meta, "Content-Encoding")
		}
	}
	return e
}

// store puts the body of the request, or what it copies, below path.
func (s *Server) store(c *call, e filer.Entry) (filer.Entry, error) {
	up, err := receive(c.r, c.sig)
	if err != nil {
		return e, err
	}
	defer up.Close()
	if e.Meta == nil {
		e.Meta = map[string]string{}
	}
	for name, value := range up.checksums {
		e.Meta[name] = value
	}
	e, err = s.Filer.Put(c.r.Context(), e, up, up.size)
	if err != nil {
		return e, err
	}
	for name, value := range up.checksums {
		c.Header().Set(name, value)
	}
	c.Header().Set("ETag", `"`+e.ETag+`"`)
	return e, nil
}

func (s *Server) putObject(c *call) error {
	if c.r.Header.Get("X-Amz-Copy-Source") != "" {
		return s.copyObject(c)
	}
	if c.r.Header.Get("If-None-Match") == "*" {
		if _, err := s.Filer.Stat(c.r.Context(), c.path()); err == nil {
			return errPrecondition
		} else if !errors.Is(err, filer.ErrNotFound) {
			return err
		}
	}
	_, err := s.store(c, attributes(c))
	return err
}

// copyObject reads the source through the gateway; PutObject and UploadPart use it.
func (s *Server) copyObject(c *call) error {
	e := attributes(c)
	e, err := s.copySource(c, e, !strings.EqualFold(c.r.Header.Get("X-Amz-Metadata-Directive"), "REPLACE"))
	if err != nil {
		return err
	}
	writeXML(c, http.StatusOK, struct {
		XMLName      xml.Name `xml:"CopyObjectResult"`
		ETag         string
		LastModified string
	}{ETag: `"` + e.ETag + `"`, LastModified: isoTime(e.Mtime)})
	return nil
}

func (s *Server) copySource(c *call, e filer.Entry, withMeta bool) (filer.Entry, error) {
	source, err := url.PathUnescape(c.r.Header.Get("X-Amz-Copy-Source"))
	if err != nil {
		return e, errInvalidArgument
	}
	source, _, _ = strings.Cut(strings.TrimPrefix(source, "/"), "?versionId=")
	bucket, _, _ := strings.Cut(source, "/")
	if !c.id.may("Read", bucket) {
		return e, errAccessDenied
	}
	ask := http.Header{}
	if part := c.r.Header.Get("X-Amz-Copy-Source-Range"); part != "" {
		ask.Set("Range", part)
	}
	response, err := s.Filer.Fetch(c.r.Context(), http.MethodGet, bucketsDir+source, ask)
	if err != nil {
		return e, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return e, errNoSuchKey
	} else if response.StatusCode/100 != 2 {
		return e, errInvalidRange
	}
	if from, err := filer.DecodeEntry(response.Header); err == nil && withMeta {
		e.Mime, e.Meta = from.Mime, from.Meta
	}
	spool, err := os.CreateTemp("", "weed-s3-*")
	if err != nil {
		return e, err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil {
		return e, err
	}
	size, err := io.Copy(spool, response.Body)
	if err != nil {
		return e, err
	}
	return s.Filer.Put(c.r.Context(), e, spool, size)
}

func (s *Server) deleteObject(c *call) error {
	if err := s.Filer.Delete(c.r.Context(), c.path()); err != nil && !errors.Is(err, filer.ErrNotFound) {
		return err
	}
	c.WriteHeader(http.StatusNoContent)
	return nil
}
