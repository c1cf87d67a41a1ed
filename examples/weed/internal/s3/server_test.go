package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/weed/internal/cluster"
	"example.org/weed/internal/election"
	"example.org/weed/internal/filer"
	"example.org/weed/internal/master"
)

// backend opens the internal port of one server; the address is known before the handler is.
func backend(t *testing.T, id int, make func(self cluster.Address) http.Handler) (cluster.Address, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	self := cluster.NewAddress("127.0.0.1", id, s.Listener.Addr().(*net.TCPAddr).Port)
	s.Config.Handler = make(self)
	s.Start()
	t.Cleanup(s.Close)
	return self, s
}

func startMaster(t *testing.T) cluster.Address {
	self, _ := backend(t, 1, func(self cluster.Address) http.Handler {
		node, err := election.New(election.Config{Self: self, Peers: []cluster.Address{self}, Dir: t.TempDir(),
			Heartbeat: 50 * time.Millisecond, Timeout: time.Second, Client: cluster.NewClient(nil)})
		if err != nil {
			t.Fatal(err)
		}
		go node.Run(t.Context())
		return master.New(node, cluster.NewClient(nil), 1<<30, "").Internal()
	})
	return self
}

func startFiler(t *testing.T, id int, leader cluster.Address) (cluster.Address, *httptest.Server) {
	store, err := filer.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	var server *filer.Server
	self, listening := backend(t, id, func(self cluster.Address) http.Handler {
		report := &cluster.Reporter{Masters: []cluster.Address{leader}, Client: cluster.NewClient(nil)}
		server = filer.NewServer(store, self, report, prometheus.NewRegistry())
		return server.Internal()
	})
	server.Join(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { server.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return self, listening
}

// gateway is a client of one S3 server.
type gateway struct {
	t   *testing.T
	url string
	api *Server
}

func startGateway(t *testing.T, filers ...cluster.Address) gateway {
	api := New(&filer.Client{Filers: filers, Client: cluster.NewClient(nil)}, prometheus.NewRegistry())
	s := httptest.NewServer(api)
	t.Cleanup(s.Close)
	return gateway{t, s.URL, api}
}

func (g gateway) do(want int, method, path, body string, header ...string) (string, http.Header) {
	g.t.Helper()
	r, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if response.StatusCode != want {
		g.t.Fatalf("%s %s: status %d instead of %d: %s", method, path, response.StatusCode, want, text)
	}
	return string(text), response.Header
}

func parse[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := xml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err, text)
	}
	return v
}

func TestObjects(t *testing.T) {
	f, _ := startFiler(t, 2, startMaster(t))
	g := startGateway(t, f)
	g.do(404, "PUT", "/bucket/key", "x")
	g.do(400, "PUT", "/No_Bucket", "")
	g.do(200, "PUT", "/bucket", "")
	g.do(409, "PUT", "/bucket", "")
	g.do(200, "HEAD", "/bucket", "")
	_, h := g.do(200, "PUT", "/bucket/a/b%20c+%C3%A9", "hello", "X-Amz-Meta-Colour", "red", "Content-Type", "text/plain",
		"Cache-Control", "no-cache", "Content-Encoding", "aws-chunked", "X-Amz-Checksum-Crc32", "NhCmhg==")
	if got := h.Get("ETag"); got != `"5d41402abc4b2a76b9719d911017c592"` {
		t.Error("ETag", got)
	}
	text, h := g.do(200, "GET", "/bucket/a/b%20c+%C3%A9", "", "X-Amz-Checksum-Mode", "ENABLED")
	if text != "hello" || h.Get("X-Amz-Meta-Colour") != "red" || h.Get("Content-Type") != "text/plain" ||
		h.Get("Cache-Control") != "no-cache" || h.Get("Content-Encoding") != "" || h.Get("X-Amz-Checksum-Crc32") != "NhCmhg==" {
		t.Error(text, h)
	}
	if text, h = g.do(206, "GET", "/bucket/a/b%20c+%C3%A9", "", "Range", "bytes=1-2"); text != "el" || h.Get("Content-Range") != "bytes 1-2/5" {
		t.Error(text, h)
	}
	g.do(416, "GET", "/bucket/a/b%20c+%C3%A9", "", "Range", "bytes=9-")
	g.do(304, "GET", "/bucket/a/b%20c+%C3%A9", "", "If-None-Match", `"5d41402abc4b2a76b9719d911017c592"`)
	g.do(412, "PUT", "/bucket/a/b%20c+%C3%A9", "x", "If-None-Match", "*")
	g.do(400, "PUT", "/bucket/bad", "x", "Content-Md5", "XUFAKrxLKna5cZ2REBfFkg==")
	g.do(400, "PUT", "/bucket/bad", "x", "X-Amz-Content-Sha256", emptySHA)
	g.do(404, "GET", "/bucket/bad", "")
	g.do(200, "PUT", "/bucket/copy", "", "X-Amz-Copy-Source", "/bucket/a/b%20c+%C3%A9")
	if text, h = g.do(200, "GET", "/bucket/copy", ""); text != "hello" || h.Get("X-Amz-Meta-Colour") != "red" {
		t.Error("copy", text, h)
	}
	g.do(501, "GET", "/bucket?acl", "")
	g.do(204, "DELETE", "/bucket/copy", "")
	g.do(204, "DELETE", "/bucket/copy", "")
	g.api.DeleteWithBucket = false
	g.do(409, "DELETE", "/bucket", "")
	text, _ = g.do(200, "POST", "/bucket?delete", "<Delete><Object><Key>a/b c+é</Key></Object><Object><Key>none</Key></Object></Delete>")
	if strings.Count(text, "<Deleted>") != 2 {
		t.Error(text)
	}
	g.do(204, "DELETE", "/bucket", "")
	g.do(404, "HEAD", "/bucket", "")
}

func TestListing(t *testing.T) {
	f, _ := startFiler(t, 2, startMaster(t))
	g := startGateway(t, f)
	g.do(200, "PUT", "/bucket", "")
	for i := range 5 {
		g.do(200, "PUT", fmt.Sprintf("/bucket/dir/%d", i), "x")
	}
	g.do(200, "PUT", "/bucket/top%20level", "x")
	if buckets, _ := g.do(200, "GET", "/", ""); !strings.Contains(buckets, "<Name>bucket</Name>") {
		t.Error(buckets)
	}
	var keys []string
	query := "/bucket?list-type=2&max-keys=2&encoding-type=url"
	for next := ""; ; {
		text, _ := g.do(200, "GET", query+next, "")
		page := parse[listing](t, text)
		for _, o := range page.Contents {
			keys = append(keys, o.Key)
		}
		if !page.IsTruncated {
			break
		}
		next = "&continuation-token=" + page.NextContinuationToken
	}
	if want := strings.Fields("dir/0 dir/1 dir/2 dir/3 dir/4 top%20level"); !slices.Equal(keys, want) {
		t.Error(keys)
	}
	text, _ := g.do(200, "GET", "/bucket?delimiter=/&marker=d", "")
	page := parse[listing](t, text)
	if len(page.CommonPrefixes) != 1 || page.CommonPrefixes[0].Prefix != "dir/" || len(page.Contents) != 1 || page.KeyCount != nil {
		t.Error(text)
	}
}

func TestMultipart(t *testing.T) {
	f, _ := startFiler(t, 2, startMaster(t))
	g := startGateway(t, f)
	g.do(200, "PUT", "/bucket", "")
	text, _ := g.do(200, "POST", "/bucket/big?uploads", "", "Content-Type", "video/x", "X-Amz-Meta-A", "b")
	id := parse[struct{ UploadId string }](t, text).UploadId
	parts := []string{strings.Repeat("a", minPartSize), strings.Repeat("b", minPartSize), "end"}
	var sums, document bytes.Buffer
	for i, part := range parts {
		_, h := g.do(200, "PUT", fmt.Sprintf("/bucket/big?partNumber=%d&uploadId=%s", i+1, id), part)
		sum := md5.Sum([]byte(part))
		sums.Write(sum[:])
		fmt.Fprintf(&document, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, h.Get("ETag"))
	}
	if text, _ = g.do(200, "GET", "/bucket?uploads", ""); !strings.Contains(text, id) {
		t.Error(text)
	}
	if text, _ = g.do(200, "GET", "/bucket/big?uploadId="+id, ""); strings.Count(text, "<Part>") != 3 {
		t.Error(text)
	}
	complete := func(parts string) string { return "<CompleteMultipartUpload>" + parts + "</CompleteMultipartUpload>" }
	g.do(400, "POST", "/bucket/big?uploadId="+id, complete("<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"))
	g.do(404, "POST", "/bucket/other?uploadId="+id, complete(document.String()))
	text, _ = g.do(200, "POST", "/bucket/big?uploadId="+id, complete(document.String()))
	if want := fmt.Sprintf("%x-3", md5.Sum(sums.Bytes())); !strings.Contains(text, want) {
		t.Error(text, want)
	}
	text, h := g.do(200, "GET", "/bucket/big", "")
	if text != strings.Join(parts, "") || h.Get("Content-Type") != "video/x" || h.Get("X-Amz-Meta-A") != "b" || h.Get(keyMeta) != "" {
		t.Error(len(text), h)
	}
	if text, _ = g.do(206, "GET", "/bucket/big", "", "Range", fmt.Sprintf("bytes=%d-%d", minPartSize-1, minPartSize)); text != "ab" {
		t.Error(text)
	}
	g.do(404, "DELETE", "/bucket/big?uploadId="+id, "")
	text, _ = g.do(200, "POST", "/bucket/big?uploads", "")
	id = parse[struct{ UploadId string }](t, text).UploadId
	g.do(204, "DELETE", "/bucket/big?uploadId="+id, "")
	g.do(404, "PUT", "/bucket/big?partNumber=1&uploadId="+id, "x")
}

// TestTwoFilers has two gateways, each with a filer of its own, and loses one of the filers.
func TestTwoFilers(t *testing.T) {
	leader := startMaster(t)
	one, _ := startFiler(t, 2, leader)
	early := startGateway(t, one)
	early.do(200, "PUT", "/bucket", "")
	early.do(200, "PUT", "/bucket/before", "written when there was only one")
	two, second := startFiler(t, 3, leader)
	other := startGateway(t, two, one)
	if text, _ := other.do(200, "GET", "/bucket/before", ""); !strings.HasPrefix(text, "written") {
		t.Error(text)
	}
	early.do(200, "PUT", "/bucket/pushed", "1")
	other.do(200, "GET", "/bucket/pushed", "")
	other.do(204, "DELETE", "/bucket/pushed", "")
	early.do(404, "GET", "/bucket/pushed", "")
	second.CloseClientConnections()
	second.Close()
	other.do(200, "PUT", "/bucket/after", "2")
	early.do(200, "GET", "/bucket/after", "")
}

func TestIdentities(t *testing.T) {
	f, _ := startFiler(t, 2, startMaster(t))
	g := startGateway(t, f)
	g.do(200, "PUT", "/bucket", "")
	g.do(200, "PUT", "/bucket/key", "hello")
	ids := append(identities("reader", "secret", "Read:bucket", "List:bucket"), Identity{Name: "anonymous", Actions: []string{"List"}})
	g.api.SetIdentities(ids)
	signed := func(want int, method, path string) {
		t.Helper()
		r, err := http.NewRequest(method, g.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		sig := &signature{date: now.Format(dateFormat), scope: now.Format("20060102") + "/r/s3/aws4_request",
			signed: []string{"host", "x-amz-content-sha256", "x-amz-date"}, key: signingKey("secret", now.Format("20060102"), "r", "s3")}
		r.Header.Set("X-Amz-Date", sig.date)
		r.Header.Set("X-Amz-Content-Sha256", emptySHA)
		r.Host = r.URL.Host
		r.Header.Set("Authorization", fmt.Sprintf("%s Credential=reader/%s, SignedHeaders=%s, Signature=%s", algorithm, sig.scope,
			strings.Join(sig.signed, ";"), hexMAC(sig.key, sig.stringToSign(r))))
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s %s: %d", method, path, response.StatusCode)
		}
	}
	signed(200, "GET", "/bucket/key")
	signed(200, "GET", "/bucket?list-type=2&prefix=k%2F")
	signed(403, "DELETE", "/bucket/key")
	signed(403, "PUT", "/bucket2")
	g.do(403, "GET", "/bucket/key", "")
	g.do(200, "GET", "/bucket", "")
	g.do(200, "GET", "/status", "")
	g.do(200, "GET", "/readyz", "")
}
