package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The examples of the Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".
var (
	exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	exampleIDs  = identities("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "Admin")
)

const emptySHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func identities(access, secret string, actions ...string) Identities {
	id := Identity{Name: access, Actions: actions}
	id.Credentials = append(id.Credentials, struct {
		AccessKey string `json:"accessKey"`
		SecretKey string `json:"secretKey"`
	}{access, secret})
	return Identities{id}
}

func exampleGet() *http.Request {
	r := httptest.NewRequest("GET", "http://examplebucket.s3.amazonaws.com/test.txt", nil)
	r.Header.Set("Range", "bytes=0-9")
	r.Header.Set("X-Amz-Content-Sha256", emptySHA)
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"+
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"+
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
	return r
}

func TestExampleGet(t *testing.T) {
	if _, sig, err := exampleIDs.authenticate(exampleGet(), exampleTime); err != nil || sig == nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		ids    Identities
		at     time.Time
		want   error
	}{
		"other range":    {func(r *http.Request) { r.Header.Set("Range", "bytes=0-10") }, exampleIDs, exampleTime, errSignature},
		"other path":     {func(r *http.Request) { r.URL.Path = "/secret.txt" }, exampleIDs, exampleTime, errSignature},
		"other query":    {func(r *http.Request) { r.URL.RawQuery = "acl" }, exampleIDs, exampleTime, errSignature},
		"wrong secret":   {nil, identities("AKIAIOSFODNN7EXAMPLE", "x", "Admin"), exampleTime, errSignature},
		"unknown key":    {nil, identities("other", "x", "Admin"), exampleTime, errInvalidAccessKeyID},
		"too late":       {nil, exampleIDs, exampleTime.Add(time.Hour), errTimeSkewed},
		"not signed":     {func(r *http.Request) { r.Header.Del("Authorization") }, exampleIDs, exampleTime, errAccessDenied},
		"other scheme":   {func(r *http.Request) { r.Header.Set("Authorization", "AWS a:b") }, exampleIDs, exampleTime, errMalformedAuth},
		"host unsigned":  {func(r *http.Request) { unsignHost(r) }, exampleIDs, exampleTime, errMalformedAuth},
		"other day":      {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20130525T000000Z") }, exampleIDs, exampleTime, errMalformedAuth},
		"no identities?": {nil, Identities{{Name: "nobody"}}, exampleTime, errInvalidAccessKeyID},
	} {
		t.Run(name, func(t *testing.T) {
			r := exampleGet()
			if c.change != nil {
				c.change(r)
			}
			if _, _, err := c.ids.authenticate(r, c.at); !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func unsignHost(r *http.Request) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
}

func TestExamplePresigned(t *testing.T) {
	r := httptest.NewRequest("GET", "http://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"+
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"+
		"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)
	if _, _, err := exampleIDs.authenticate(r, exampleTime.Add(23*time.Hour)); err != nil {
		t.Error(err)
	}
	if _, _, err := exampleIDs.authenticate(r, exampleTime.Add(25*time.Hour)); !errors.Is(err, errExpired) {
		t.Errorf("after a day: %v", err)
	}
}

// exampleChunks is the request of "Transferring Payload in Multiple Chunks": 64 KiB and 1 KiB of the letter a.
func exampleChunks(change func(body string) string) *http.Request {
	chunk := func(size int, signature string) string {
		return fmt.Sprintf("%x;chunk-signature=%s\r\n%s\r\n", size, signature, strings.Repeat("a", size))
	}
	body := chunk(65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648") +
		chunk(1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497") +
		chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
	r := httptest.NewRequest("PUT", "http://s3.amazonaws.com/examplebucket/chunkObject.txt", strings.NewReader(change(body)))
	r.ContentLength = 66824
	for name, value := range map[string]string{
		"Content-Encoding": "aws-chunked", "Content-Length": "66824", "X-Amz-Date": "20130524T000000Z",
		"X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length": "66560",
		"X-Amz-Storage-Class": "REDUCED_REDUNDANCY",
		"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" +
			"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class," +
			"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
	} {
		r.Header.Set(name, value)
	}
	return r
}

func TestExampleChunks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(string) string
		want   error
	}{
		"as published":      {func(b string) string { return b }, nil},
		"other content":     {func(b string) string { return strings.Replace(b, "aaa", "aab", 1) }, errSignature},
		"chunk left out":    {func(b string) string { return b[strings.Index(b, "\r\n400;")+2:] }, errSignature},
		"cut short":         {func(b string) string { return b[:70000-20000] }, errIncompleteBody},
		"last chunk is off": {func(b string) string { return b[:strings.Index(b, "\r\n0;")+2] }, errIncompleteBody},
	} {
		t.Run(name, func(t *testing.T) {
			r := exampleChunks(c.change)
			_, sig, err := exampleIDs.authenticate(r, exampleTime)
			if err != nil {
				t.Fatal(err)
			}
			up, err := receive(r, sig)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				return
			}
			defer up.Close()
			text, _ := io.ReadAll(io.NewSectionReader(up, 0, up.size))
			if string(text) != strings.Repeat("a", 66560) {
				t.Errorf("%d bytes", len(text))
			}
		})
	}
}

func TestTrailer(t *testing.T) {
	for name, c := range map[string]struct {
		kind, sum, body string
		want            error
	}{
		"crc32": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32",
			"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", nil},
		"no last line": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32",
			"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n", nil},
		"crc32c": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32c",
			"3\r\nhel\r\n2\r\nlo\r\n0\r\nx-amz-checksum-crc32c:mnG7TA==\r\n\r\n", nil},
		"crc64nvme": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc64nvme",
			"9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n", nil},
		"wrong": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32",
			"5\r\nhellO\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", errBadDigest},
		"announced only": {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32", "5\r\nhello\r\n0\r\n\r\n", errBadDigest},
		"bad size":       {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32", "-5\r\nhello", errIncompleteBody},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("PUT", "/b/k", strings.NewReader(c.body))
			r.Header.Set("X-Amz-Content-Sha256", c.kind)
			r.Header.Set("X-Amz-Trailer", c.sum)
			up, err := receive(r, nil)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if up != nil {
				up.Close()
			}
		})
	}
}

// TestSignedTrailer makes the chain of signatures as the reference describes it.
func TestSignedTrailer(t *testing.T) {
	sig := &signature{date: "20130524T000000Z", scope: "20130524/us-east-1/s3/aws4_request", value: "seed",
		key: signingKey("secret", "20130524", "us-east-1", "s3")}
	sign := func(kind string, parts ...string) string {
		return hexMAC(sig.key, strings.Join(append([]string{"AWS4-HMAC-SHA256" + kind, sig.date, sig.scope}, parts...), "\n"))
	}
	one := sign("-PAYLOAD", "seed", emptySHA, hexSum("hello"))
	two := sign("-PAYLOAD", one, emptySHA, emptySHA)
	for name, signed := range map[string]string{"right": "x-amz-checksum-crc32:NhCmhg==\n", "wrong": "x-amz-checksum-crc32:AAAAAA==\n"} {
		body := "5;chunk-signature=" + one + "\r\nhello\r\n0;chunk-signature=" + two + "\r\nx-amz-checksum-crc32:NhCmhg==\r\n" +
			"x-amz-trailer-signature:" + sign("-TRAILER", two, hexSum(signed)) + "\r\n\r\n"
		r := httptest.NewRequest("PUT", "/b/k", strings.NewReader(body))
		r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		if _, err := receive(r, sig); (err == nil) != (name == "right") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusalsAreLoggedAsBySeaweedFS: the key that is not known, and never who sent it.
func TestRefusalsAreLoggedAsBySeaweedFS(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	for name, ids := range map[string]Identities{
		"InvalidAccessKeyId: attempted key": identities("other", "x", "Admin"),
		"":                                  identities("AKIAIOSFODNN7EXAMPLE", "x", "Admin"), // a wrong signature
	} {
		log.Reset()
		r := exampleGet()
		r.RemoteAddr = "192.0.2.7:999"
		if _, _, err := ids.authenticate(r, exampleTime); err == nil {
			t.Fatal("accepted")
		}
		if text := log.String(); !strings.Contains(text, name) || name == "" && text != "" || strings.Contains(text, "192.0.2.7") {
			t.Errorf("%q: %s", name, text)
		}
	}
}

func TestActions(t *testing.T) {
	id := Identity{Actions: []string{"Read", "Write:one"}}
	for _, c := range []struct {
		action, bucket string
		want           bool
	}{{"Read", "any", true}, {"Write", "one", true}, {"Write", "two", false}, {"Admin", "one", false}} {
		if got := id.may(c.action, c.bucket); got != c.want {
			t.Errorf("%s on %s: %v", c.action, c.bucket, got)
		}
	}
	if admin := (Identity{Actions: []string{"Admin"}}); !admin.may("Write", "x") {
		t.Error("an administrator may write")
	}
}
