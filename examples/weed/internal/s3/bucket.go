package s3

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.org/weed/internal/filer"
)

func isoTime(nanoseconds int64) string { return time.Unix(0, nanoseconds).UTC().Format(timeFormat) }

func (s *Server) listBuckets(c *call) error {
	if c.r.Method != http.MethodGet {
		return errMethodNotAllowed
	}
	type bucket struct{ Name, CreationDate string }
	type document struct {
		XMLName xml.Name `xml:"ListAllMyBucketsResult"`
		Xmlns   string   `xml:"xmlns,attr"`
		Owner   string   `xml:"Owner>ID"`
		Buckets []bucket `xml:"Buckets>Bucket"`
	}
	out := document{Xmlns: xmlns, Owner: c.id.Name}
	err := s.each(c.r.Context(), filer.ListRequest{Prefix: bucketsDir, Delimiter: "/"}, func(e filer.Entry) error {
		if name := strings.TrimPrefix(e.Path, bucketsDir); c.id.may("List", name) {
			out.Buckets = append(out.Buckets, bucket{name, isoTime(e.Mtime)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	writeXML(c, http.StatusOK, out)
	return nil
}

// each visits all entries of a listing.
func (s *Server) each(ctx context.Context, r filer.ListRequest, visit func(filer.Entry) error) error {
	r.Limit = pageSize
	for {
		page, err := s.Filer.List(ctx, r)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			if err := visit(e); err != nil {
				return err
			}
		}
		if !page.Truncated {
			return nil
		}
		r.After = page.Next
	}
}

func (s *Server) createBucket(c *call) error {
	if !bucketName.MatchString(c.bucket) {
		return errInvalidBucketName
	}
	if err := s.bucketExists(c.r.Context(), c.bucket); err == nil {
		return errBucketExists
	} else if !errors.Is(err, errNoSuchBucket) {
		return err
	}
	_, err := s.Filer.Put(c.r.Context(), filer.Entry{Path: bucketsDir + c.bucket, Dir: true}, strings.NewReader(""), 0)
	if err == nil {
		c.Header().Set("Location", "/"+c.bucket)
	}
	return err
}

func (s *Server) deleteBucket(c *call) error {
	for _, prefix := range []string{bucketsDir + c.bucket + "/", uploadsDir + c.bucket + "/"} {
		err := s.each(c.r.Context(), filer.ListRequest{Prefix: prefix}, func(e filer.Entry) error {
			if strings.HasPrefix(prefix, bucketsDir) && !s.DeleteWithBucket {
				return errBucketNotEmpty
			}
			return s.Filer.Delete(c.r.Context(), e.Path)
		})
		if err != nil {
			return err
		}
	}
	if err := s.Filer.Delete(c.r.Context(), bucketsDir+c.bucket); err != nil {
		return err
	}
	c.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) location(c *call) error {
	writeXML(c, http.StatusOK, struct {
		XMLName xml.Name `xml:"LocationConstraint"`
		Xmlns   string   `xml:"xmlns,attr"`
	}{Xmlns: xmlns}) // empty stands for us-east-1
	return nil
}

func versioning(c *call) error {
	writeXML(c, http.StatusOK, struct {
		XMLName xml.Name `xml:"VersioningConfiguration"`
		Xmlns   string   `xml:"xmlns,attr"`
	}{Xmlns: xmlns}) // empty: never enabled
	return nil
}

type object struct {
	Key, LastModified, ETag string
	Size                    int64
	StorageClass            string
}

type commonPrefix struct{ Prefix string }

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Xmlns                 string   `xml:"xmlns,attr"`
	Name, Prefix          string
	Delimiter             string `xml:",omitempty"`
	MaxKeys               int
	EncodingType          string  `xml:",omitempty"`
	Marker                *string // version 1
	NextMarker            string  `xml:",omitempty"`
	KeyCount              *int    // version 2, and the rest
	StartAfter            string  `xml:",omitempty"`
	ContinuationToken     string  `xml:",omitempty"`
	NextContinuationToken string  `xml:",omitempty"`
	IsTruncated           bool
	Contents              []object
	CommonPrefixes        []commonPrefix
}

// listObjects is ListObjects and ListObjectsV2.
func (s *Server) listObjects(c *call) error {
	second := c.arg("list-type") == "2"
	limit, err := strconv.Atoi(cmp.Or(c.arg("max-keys"), strconv.Itoa(pageSize)))
	if err != nil || limit < 0 {
		return errInvalidArgument
	}
	limit = min(limit, pageSize)
	after := c.arg("marker")
	if second {
		token, err := base64.URLEncoding.DecodeString(c.arg("continuation-token"))
		if err != nil {
			return errInvalidArgument
		}
		after = cmp.Or(string(token), c.arg("start-after"))
	}
	encode := func(s string) string { return s }
	if c.arg("encoding-type") == "url" {
		encode = func(s string) string { return escape(s, true) }
	}
	root := bucketsDir + c.bucket + "/"
	ask := filer.ListRequest{Prefix: root + c.arg("prefix"), Delimiter: c.arg("delimiter"), Limit: limit}
	if after != "" {
		ask.After = root + after
	}
	var page filer.ListReply
	if limit > 0 {
		if page, err = s.Filer.List(c.r.Context(), ask); err != nil {
			return err
		}
	}
	out := listing{
		Xmlns: xmlns, Name: c.bucket, Prefix: encode(c.arg("prefix")), Delimiter: encode(ask.Delimiter), MaxKeys: limit,
		EncodingType: c.arg("encoding-type"), IsTruncated: page.Truncated,
	}
	for _, e := range page.Entries {
		out.Contents = append(out.Contents, object{encode(strings.TrimPrefix(e.Path, root)), isoTime(e.Mtime),
			`"` + e.ETag + `"`, e.Size, "STANDARD"})
	}
	for _, p := range page.Prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, commonPrefix{encode(strings.TrimPrefix(p, root))})
	}
	next := strings.TrimPrefix(page.Next, root)
	if second {
		count := len(out.Contents) + len(out.CommonPrefixes)
		out.KeyCount, out.StartAfter, out.ContinuationToken = &count, encode(c.arg("start-after")), c.arg("continuation-token")
		if page.Truncated {
			out.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(next))
		}
	} else {
		marker := encode(after)
		out.Marker = &marker
		if page.Truncated {
			out.NextMarker = encode(next)
		}
	}
	writeXML(c, http.StatusOK, out)
	return nil
}

// deleteObjects is the multi-object delete.
func (s *Server) deleteObjects(c *call) error {
	up, err := receive(c.r, c.sig)
	if err != nil {
		return err
	}
	defer up.Close()
	type item struct{ Key string }
	type problem struct{ Key, Code, Message string }
	var ask struct {
		Quiet  bool
		Object []item
	}
	if err := xml.NewDecoder(io.NewSectionReader(up, 0, up.size)).Decode(&ask); err != nil || len(ask.Object) > pageSize {
		return errMalformedXML
	}
	out := struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Xmlns   string   `xml:"xmlns,attr"`
		Deleted []item
		Error   []problem
	}{Xmlns: xmlns}
	for _, o := range ask.Object {
		err := s.Filer.Delete(c.r.Context(), bucketsDir+c.bucket+"/"+o.Key)
		if err != nil && !errors.Is(err, filer.ErrNotFound) {
			failure := toAPIError(err)
			out.Error = append(out.Error, problem{o.Key, failure.code, failure.message})
		} else if !ask.Quiet {
			out.Deleted = append(out.Deleted, o)
		}
	}
	writeXML(c, http.StatusOK, out)
	return nil
}
