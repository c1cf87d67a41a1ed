package filer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"example.org/weed/internal/cluster"
)

const (
	pullInterval = time.Second
	peerTimeout  = 10 * time.Second // a filer that nobody has named for so long is no peer any more
	pauseTime    = 5 * time.Second  // how long a filer that failed gets no pushes
	pushTimeout  = 3 * time.Second
)

// ChangesRequest asks a filer for what is new to it since Since, and makes the asking filer its peer.
type ChangesRequest struct {
	From  cluster.Address
	Epoch string // a store that was opened anew counts from the start
	Since uint64
}

// ChangesReply answers with everything when the epoch is another one.
type ChangesReply struct {
	Epoch   string
	Seq     uint64
	Entries []Entry
}

type peer struct {
	named  time.Time // when a master or the filer itself last said that it is there
	paused time.Time // no pushes until then
	epoch  string
	since  uint64
}

// peers keeps filers with directories of their own alike: each write is pushed to the others before it is answered, and
// each filer asks the others every second for what it has missed.
type peers struct {
	self   cluster.Address
	client *cluster.Client
	store  *Store

	mu    sync.Mutex
	known map[cluster.Address]*peer
}

// name adds filers, or says that they are still there.
func (p *peers) name(addresses ...cluster.Address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range addresses {
		if a == p.self || a == "" {
			continue
		}
		if p.known[a] == nil {
			slog.Info("filer peer", "address", a)
			p.known[a] = &peer{}
		}
		p.known[a].named = time.Now()
	}
}

func (p *peers) list(pushing bool) []cluster.Address {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []cluster.Address
	for a, known := range p.known {
		if time.Since(known.named) > peerTimeout {
			delete(p.known, a)
		} else if !pushing || time.Now().After(known.paused) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}

// push hands entries to all peers at once. A peer that fails will pull them later.
func (p *peers) push(ctx context.Context, entries ...Entry) {
	var wait sync.WaitGroup
	for _, to := range p.list(true) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for _, e := range entries {
				if err := p.pushOne(ctx, to, e); err != nil {
					slog.Warn("cannot push to a filer", "filer", to, "path", e.Path, "error", err)
					p.mu.Lock()
					if known := p.known[to]; known != nil {
						known.paused = time.Now().Add(pauseTime)
					}
					p.mu.Unlock()
					return
				}
			}
		}()
	}
	wait.Wait()
}

func (p *peers) pushOne(ctx context.Context, to cluster.Address, e Entry) error {
	timeout := pushTimeout + time.Duration(e.Size/20_000_000)*time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	content, err := p.store.Read(e)
	if err != nil {
		return err
	}
	defer content.Close()
	request, err := newPut(ctx, p.client.URL(to, objectPath(e.Path)), e, content.(*reader), e.Size)
	if err != nil {
		return err
	}
	response, err := p.client.HTTP.Do(request)
	if err != nil {
		return err
	}
	if err := cluster.CheckStatus(response); err != nil {
		return err
	}
	return response.Body.Close()
}

// pull asks every peer once.
func (p *peers) pull(ctx context.Context) {
	for _, from := range p.list(false) {
		if err := p.pullFrom(ctx, from); err != nil && ctx.Err() == nil {
			slog.Warn("cannot pull from a filer", "filer", from, "error", err)
		}
	}
}

func (p *peers) pullFrom(ctx context.Context, from cluster.Address) error {
	p.mu.Lock()
	known := p.known[from]
	if known == nil {
		p.mu.Unlock()
		return nil
	}
	ask := ChangesRequest{From: p.self, Epoch: known.epoch, Since: known.since}
	p.mu.Unlock()
	short, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	var got ChangesReply
	if err := p.client.Call(short, from, "/changes", ask, &got); err != nil {
		return err
	}
	for i := range got.Entries {
		if err := p.take(ctx, from, &got.Entries[i]); err != nil {
			return err // asked for again next time
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known.epoch, known.since, known.paused = got.Epoch, got.Seq, time.Time{}
	return nil
}

func (p *peers) take(ctx context.Context, from cluster.Address, e *Entry) error {
	if !p.store.wants(e) {
		return nil
	}
	if e.Dir || e.Deleted {
		_, _, err := p.store.Put(*e, nil)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime(e.Size))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.client.URL(from, objectPath(e.Path)), nil)
	if err != nil {
		return err
	}
	response, err := p.client.HTTP.Do(request)
	if err != nil {
		return err
	}
	if err := notFound(cluster.CheckStatus(response)); errors.Is(err, ErrNotFound) {
		return nil // deleted in the meantime: the next answer says so
	} else if err != nil {
		return err
	}
	defer response.Body.Close()
	now, err := DecodeEntry(response.Header) // may be newer than what was announced
	if err != nil {
		return err
	}
	_, _, err = p.store.Put(now, response.Body)
	return err
}

// answer serves a peer's pull.
func (p *peers) answer(r ChangesRequest) ChangesReply {
	p.name(r.From) // before the snapshot: what is written after it is pushed
	since := r.Since
	if r.Epoch != p.store.epoch {
		since = 0
	}
	entries, seq := p.store.Changes(since)
	return ChangesReply{Epoch: p.store.epoch, Seq: seq, Entries: entries}
}
