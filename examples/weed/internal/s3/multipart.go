package s3

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"example.org/weed/internal/filer"
)

const (
	maxParts    = 10000
	minPartSize = 5 << 20
)

// An upload is a folder /uploads/<bucket>/<id>/ with one file for each part and one, "upload", whose entry has what the
// object is going to have.
func uploadDir(c *call) string { return uploadsDir + c.bucket + "/" + c.arg("uploadId") + "/" }

func partPath(c *call, number int) string { return fmt.Sprintf("%s%05d", uploadDir(c), number) }

const keyMeta = "Weed-Key"

func (s *Server) createUpload(c *call) error {
	id := uuid.NewString()
	e := attributes(c)
	e.Path, e.Dir, e.Meta[keyMeta] = uploadsDir+c.bucket+"/"+id+"/upload", true, c.key
	if _, err := s.Filer.Put(c.r.Context(), e, strings.NewReader(""), 0); err != nil {
		return err
	}
	writeXML(c, http.StatusOK, struct {
		XMLName     xml.Name `xml:"InitiateMultipartUploadResult"`
		Xmlns       string   `xml:"xmlns,attr"`
		Bucket, Key string
		UploadID    string `xml:"UploadId"`
	}{Xmlns: xmlns, Bucket: c.bucket, Key: c.key, UploadID: id})
	return nil
}

// upload returns what createUpload stored.
func (s *Server) upload(c *call) (filer.Entry, error) {
	if uuid.Validate(c.arg("uploadId")) != nil {
		return filer.Entry{}, errNoSuchUpload
	}
	e, err := s.Filer.Stat(c.r.Context(), uploadDir(c)+"upload")
	if errors.Is(err, filer.ErrNotFound) || (err == nil && e.Meta[keyMeta] != c.key) {
		return e, errNoSuchUpload
	}
	return e, err
}

func (s *Server) putPart(c *call) error {
	number, err := strconv.Atoi(c.arg("partNumber"))
	if err != nil || number < 1 || number > maxParts {
		return errInvalidArgument
	}
	if _, err := s.upload(c); err != nil {
		return err
	}
	part := filer.Entry{Path: partPath(c, number)}
	if c.r.Header.Get("X-Amz-Copy-Source") == "" {
		_, err = s.store(c, part)
		return err
	}
	if part, err = s.copySource(c, part, false); err != nil {
		return err
	}
	writeXML(c, http.StatusOK, struct {
		XMLName      xml.Name `xml:"CopyPartResult"`
		ETag         string
		LastModified string
	}{ETag: `"` + part.ETag + `"`, LastModified: isoTime(part.Mtime)})
	return nil
}

func (s *Server) completeUpload(c *call) error {
	target, err := s.upload(c)
	if err != nil {
		return err
	}
	body, err := receive(c.r, c.sig)
	if err != nil {
		return err
	}
	defer body.Close()
	var ask struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(io.NewSectionReader(body, 0, body.size)).Decode(&ask); err != nil || len(ask.Part) == 0 {
		return errMalformedXML
	}
	stored, all := map[string]filer.Entry{}, []string{}
	err = s.each(c.r.Context(), filer.ListRequest{Prefix: uploadDir(c)}, func(e filer.Entry) error {
		stored[e.Path] = e
		all = append(all, e.Path)
		return nil
	})
	if err != nil {
		return err
	}
	var parts []string
	sum := md5.New()
	for i, want := range ask.Part {
		part, found := stored[partPath(c, want.PartNumber)]
		switch {
		case i > 0 && want.PartNumber <= ask.Part[i-1].PartNumber:
			return errPartOrder
		case !found || part.ETag != strings.Trim(want.ETag, `"`):
			return errInvalidPart
		case i < len(ask.Part)-1 && part.Size < minPartSize:
			return errTooSmall
		}
		digest, err := hex.DecodeString(part.ETag)
		if err != nil {
			return err
		}
		sum.Write(digest)
		parts = append(parts, part.Path)
	}
	target.Path, target.Dir, target.ETag = c.path(), false, fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
	delete(target.Meta, keyMeta)
	done, err := s.Filer.Compose(c.r.Context(), filer.ComposeRequest{Entry: target, Parts: parts})
	if err != nil {
		return err
	}
	if err := s.remove(c, all); err != nil {
		return err
	}
	writeXML(c, http.StatusOK, struct {
		XMLName               xml.Name `xml:"CompleteMultipartUploadResult"`
		Xmlns                 string   `xml:"xmlns,attr"`
		Location, Bucket, Key string
		ETag                  string
	}{Xmlns: xmlns, Location: "/" + c.bucket + "/" + c.key, Bucket: c.bucket, Key: c.key, ETag: `"` + done.ETag + `"`})
	return nil
}

func (s *Server) remove(c *call, paths []string) error {
	for _, path := range paths {
		if err := s.Filer.Delete(c.r.Context(), path); err != nil && !errors.Is(err, filer.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (s *Server) abortUpload(c *call) error {
	if _, err := s.upload(c); err != nil {
		return err
	}
	err := s.each(c.r.Context(), filer.ListRequest{Prefix: uploadDir(c)}, func(e filer.Entry) error {
		return s.remove(c, []string{e.Path})
	})
	if err != nil {
		return err
	}
	c.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) listParts(c *call) error {
	if _, err := s.upload(c); err != nil {
		return err
	}
	type part struct {
		PartNumber         int
		LastModified, ETag string
		Size               int64
	}
	out := struct {
		XMLName     xml.Name `xml:"ListPartsResult"`
		Xmlns       string   `xml:"xmlns,attr"`
		Bucket, Key string
		UploadID    string `xml:"UploadId"`
		MaxParts    int
		IsTruncated bool
		Part        []part
	}{Xmlns: xmlns, Bucket: c.bucket, Key: c.key, UploadID: c.arg("uploadId"), MaxParts: maxParts}
	err := s.each(c.r.Context(), filer.ListRequest{Prefix: uploadDir(c)}, func(e filer.Entry) error {
		number, err := strconv.Atoi(strings.TrimPrefix(e.Path, uploadDir(c)))
		if err == nil { // not "upload"
			out.Part = append(out.Part, part{number, isoTime(e.Mtime), `"` + e.ETag + `"`, e.Size})
		}
		return nil
	})
	if err != nil {
		return err
	}
	writeXML(c, http.StatusOK, out)
	return nil
}

func (s *Server) listUploads(c *call) error {
	type item struct {
		Key       string
		UploadID  string `xml:"UploadId"`
		Initiated string
	}
	out := struct {
		XMLName     xml.Name `xml:"ListMultipartUploadsResult"`
		Xmlns       string   `xml:"xmlns,attr"`
		Bucket      string
		Prefix      string
		IsTruncated bool
		Upload      []item
	}{Xmlns: xmlns, Bucket: c.bucket, Prefix: c.arg("prefix")}
	root := uploadsDir + c.bucket + "/"
	err := s.each(c.r.Context(), filer.ListRequest{Prefix: root}, func(e filer.Entry) error {
		id, isUpload := strings.CutSuffix(strings.TrimPrefix(e.Path, root), "/upload")
		if key := e.Meta[keyMeta]; isUpload && strings.HasPrefix(key, out.Prefix) {
			out.Upload = append(out.Upload, item{key, id, isoTime(e.Mtime)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	writeXML(c, http.StatusOK, out)
	return nil
}
