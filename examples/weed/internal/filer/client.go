package filer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"example.org/weed/internal/cluster"
)

// entryHeader carries an Entry as base64 of JSON.
const entryHeader = "X-Weed-Entry"

func encodeEntry(e Entry) string {
	text, _ := json.Marshal(e) // strings, numbers and a map of strings cannot fail
	return base64.StdEncoding.EncodeToString(text)
}

// DecodeEntry reads the entry that came with a request or an answer.
func DecodeEntry(h http.Header) (e Entry, err error) {
	text, err := base64.StdEncoding.DecodeString(h.Get(entryHeader))
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	return e, err
}

func objectPath(path string) string { return "/object?path=" + url.QueryEscape(path) }

// Client uses one filer until that fails, then the next.
type Client struct {
	Filers  []cluster.Address
	Client  *cluster.Client
	current atomic.Int64
}

// do sends what build makes to the filers in turn. Only a filer that cannot be reached or is not ready is passed over.
func (c *Client) do(ctx context.Context, build func(to cluster.Address) (*http.Request, error)) (*http.Response, error) {
	var problem error
	first := c.current.Load()
	for i := range int64(len(c.Filers)) {
		index := (first + i) % int64(len(c.Filers))
		request, err := build(c.Filers[index])
		if err != nil {
			return nil, err
		}
		response, err := c.Client.HTTP.Do(request)
		if err != nil {
			if problem = err; ctx.Err() != nil {
				return nil, err
			}
			continue
		}
		if response.StatusCode == http.StatusServiceUnavailable {
			problem = cluster.CheckStatus(response)
			continue
		}
		c.current.Store(index)
		return response, nil
	}
	return nil, fmt.Errorf("no filer answers: %w", problem)
}

func (c *Client) call(ctx context.Context, path string, in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	response, err := c.do(ctx, func(to cluster.Address) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, c.Client.URL(to, path), bytes.NewReader(text))
	})
	if err != nil {
		return err
	}
	if err := notFound(cluster.CheckStatus(response)); err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(out)
}

func notFound(err error) error {
	var status *cluster.StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return ErrNotFound
	}
	return err
}

// Ready says whether a filer answers.
func (c *Client) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var reply ListReply
	return c.call(ctx, "/list", ListRequest{Prefix: "/buckets/", Limit: 1}, &reply)
}

// Put stores size bytes of content, which is read again when the first filer fails.
func (c *Client) Put(ctx context.Context, e Entry, content io.ReaderAt, size int64) (Entry, error) {
	response, err := c.do(ctx, func(to cluster.Address) (*http.Request, error) {
		attempt, cancel := context.WithTimeout(ctx, transferTime(size))
		context.AfterFunc(ctx, cancel)
		return newPut(attempt, c.Client.URL(to, objectPath(e.Path)), e, content, size)
	})
	if err != nil {
		return e, err
	}
	if err := cluster.CheckStatus(response); err != nil {
		return e, err
	}
	response.Body.Close()
	return DecodeEntry(response.Header)
}

// transferTime is what a peer gets for a body before it counts as hung.
func transferTime(size int64) time.Duration {
	return 15*time.Second + time.Duration(size/5_000_000)*time.Second
}

func newPut(ctx context.Context, url string, e Entry, content io.ReaderAt, size int64) (*http.Request, error) {
	body := func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(content, 0, size)), nil }
	reader, _ := body()
	if size == 0 {
		reader = http.NoBody
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, reader)
	if err != nil {
		return nil, err
	}
	request.ContentLength, request.GetBody = size, body
	if size == 0 {
		request.GetBody = nil
	}
	e.Chunks = nil // they mean nothing elsewhere
	request.Header.Set(entryHeader, encodeEntry(e))
	return request, nil
}

// Fetch reads a file; header may have a range and conditions. The answer's status may be other than 200.
func (c *Client) Fetch(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	return c.do(ctx, func(to cluster.Address) (*http.Request, error) {
		request, err := http.NewRequestWithContext(ctx, method, c.Client.URL(to, objectPath(path)), nil)
		if err == nil && header != nil {
			request.Header = header.Clone()
		}
		return request, err
	})
}

// Stat returns the entry of a file, or ErrNotFound.
func (c *Client) Stat(ctx context.Context, path string) (Entry, error) {
	response, err := c.Fetch(ctx, http.MethodHead, path, nil)
	if err != nil {
		return Entry{}, err
	}
	if err := notFound(cluster.CheckStatus(response)); err != nil {
		return Entry{}, err
	}
	response.Body.Close()
	return DecodeEntry(response.Header)
}

// Delete removes a file; ErrNotFound if there is none.
func (c *Client) Delete(ctx context.Context, path string) error {
	response, err := c.Fetch(ctx, http.MethodDelete, path, nil)
	if err != nil {
		return err
	}
	if err := notFound(cluster.CheckStatus(response)); err != nil {
		return err
	}
	return response.Body.Close()
}

// List reads one page.
func (c *Client) List(ctx context.Context, r ListRequest) (out ListReply, err error) {
	return out, c.call(ctx, "/list", r, &out)
}

// ComposeRequest asks for Entry.Path to be made of Parts.
type ComposeRequest struct {
	Entry Entry
	Parts []string
}

// Compose joins files that were stored before.
func (c *Client) Compose(ctx context.Context, r ComposeRequest) (out Entry, err error) {
	return out, c.call(ctx, "/compose", r, &out)
}
