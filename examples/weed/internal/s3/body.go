package s3

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// checksums are those that S3 knows, by the name of the header or trailer that carries them.
var checksums = map[string]func() hash.Hash{
	"X-Amz-Checksum-Crc32":     func() hash.Hash { return crc32.NewIEEE() },
	"X-Amz-Checksum-Crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"X-Amz-Checksum-Crc64nvme": func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) },
	"X-Amz-Checksum-Sha1":      sha1.New,
	"X-Amz-Checksum-Sha256":    sha256.New,
}

// upload is a request body that was received whole and found to be what the client meant.
type upload struct {
	*os.File
	size      int64
	checksums map[string]string // those that the client sent
}

// receive spools the body to an unlinked temporary file, so that a filer never sees content that fails a check, and a
// second filer can be tried when the first fails.
func receive(r *http.Request, sig *signature) (_ *upload, err error) {
	file, err := os.CreateTemp("", "weed-s3-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err = os.Remove(file.Name()); err != nil {
		return nil, err
	}
	sha, md := sha256.New(), md5.New()
	sinks := []io.Writer{file, sha, md}
	sums := map[string]hash.Hash{}
	for name, create := range checksums {
		if r.Header.Get(name) != "" || strings.EqualFold(r.Header.Get("X-Amz-Trailer"), name) {
			sums[name] = create()
			sinks = append(sinks, sums[name])
		}
	}
	body, claimed := io.Reader(r.Body), r.Header.Get("X-Amz-Content-Sha256")
	var decoder *chunkReader
	if strings.HasPrefix(claimed, "STREAMING-") {
		decoder = &chunkReader{
			in:       bufio.NewReaderSize(r.Body, 64<<10),
			trailer:  http.Header{},
			unsigned: strings.Contains(claimed, "UNSIGNED"),
			trailing: strings.HasSuffix(claimed, "-TRAILER"),
		}
		if sig != nil {
			decoder.sig, decoder.previous = sig, sig.value
		}
		body = decoder
	}
	up := &upload{File: file, checksums: map[string]string{}}
	if up.size, err = io.Copy(io.MultiWriter(sinks...), body); err != nil {
		return nil, err
	}
	if length := r.Header.Get("X-Amz-Decoded-Content-Length"); length != "" && length != strconv.FormatInt(up.size, 10) {
		return nil, errIncompleteBody
	}
	if len(claimed) == 64 && claimed != hex.EncodeToString(sha.Sum(nil)) {
		return nil, errContentSHA256
	}
	if want := r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(md.Sum(nil)) {
		return nil, errBadDigest
	}
	for name, sum := range sums {
		want := r.Header.Get(name)
		if want == "" && decoder != nil {
			want = decoder.trailer.Get(name)
		}
		if want != base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
			return nil, errBadDigest
		}
		up.checksums[name] = want
	}
	return up, nil
}

// chunkReader decodes the aws-chunked encoding (Amazon S3 API Reference, "Signature calculations for the Authorization
// header: transferring payload in multiple chunks" and "…including trailing headers").
type chunkReader struct {
	in       *bufio.Reader
	trailer  http.Header
	unsigned bool       // no chunk has a signature
	trailing bool       // the trailer has one
	sig      *signature // nil: signatures are not verified
	previous string     // the signature of the chunk before

	left  int64 // bytes of this chunk still to come
	want  string
	hash  hash.Hash
	ended bool
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.ended {
		return 0, io.EOF
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
		if c.ended {
			return 0, io.EOF
		}
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.hash.Write(p[:n])
	if err == io.EOF {
		return n, errIncompleteBody
	}
	if err == nil && c.left == 0 {
		if line, err := c.line(); err != nil || line != "" {
			return n, errIncompleteBody
		}
		err = c.verify("-PAYLOAD", c.previous, hexSum(""), hex.EncodeToString(c.hash.Sum(nil)))
	}
	return n, err
}

// line reads one line without its end.
func (c *chunkReader) line() (string, error) {
	text, err := c.in.ReadSlice('\n')
	if err != nil {
		return "", errIncompleteBody
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// next reads "size;chunk-signature=…" and, after the last chunk, the trailer.
func (c *chunkReader) next() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, extension, _ := strings.Cut(line, ";")
	if c.left, err = strconv.ParseInt(size, 16, 64); err != nil || c.left < 0 {
		return errIncompleteBody
	}
	c.want, c.hash = strings.TrimPrefix(extension, "chunk-signature="), sha256.New()
	if c.left > 0 {
		return nil
	}
	c.ended = true
	if err := c.verify("-PAYLOAD", c.previous, hexSum(""), hexSum("")); err != nil {
		return err
	}
	return c.readTrailer()
}

func (c *chunkReader) readTrailer() error {
	var signed strings.Builder
	c.want = ""
	for {
		line, err := c.line()
		if err != nil || line == "" {
			break // some clients leave out the last empty line
		}
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "x-amz-trailer-signature" {
			c.want = value
			continue
		}
		c.trailer.Set(name, value)
		fmt.Fprintf(&signed, "%s:%s\n", name, value)
	}
	if !c.trailing {
		return nil
	}
	return c.verify("-TRAILER", c.previous, hexSum(signed.String()))
}

// verify checks c.want against the chain of signatures that begins with the request's own.
func (c *chunkReader) verify(kind string, parts ...string) error {
	if c.sig == nil || c.unsigned {
		return nil
	}
	text := strings.Join(append([]string{algorithm + kind, c.sig.date, c.sig.scope}, parts...), "\n")
	if got := hexMAC(c.sig.key, text); !hmac.Equal([]byte(got), []byte(c.want)) {
		return errSignature
	}
	c.previous = c.want
	return nil
}
