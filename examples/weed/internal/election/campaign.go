package election

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"example.org/weed/internal/cluster"
)

// Run takes part until the context ends.
func (n *Node) Run(ctx context.Context) {
	for ctx.Err() == nil {
		n.mu.Lock()
		leads, due := n.leader == n.Self, time.Now().After(n.deadline)
		n.mu.Unlock()
		switch {
		case leads:
			n.beatOnce(ctx)
		case due:
			n.stand(ctx, false)
		}
		pause := n.Heartbeat + rand.N(n.Heartbeat/4+1)
		if !leads {
			pause = min(pause, 100*time.Millisecond)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// ask sends m to all other masters at once and returns those that agreed. A later term among the answers is adopted.
func (n *Node) ask(ctx context.Context, m message, to []cluster.Address) []cluster.Address {
	type answer struct {
		from cluster.Address
		reply
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, max(2*n.Heartbeat, 500*time.Millisecond))
	defer cancel()
	answers := make(chan answer, len(to))
	for _, peer := range to {
		go func() {
			a := answer{from: peer}
			a.err = n.Client.Call(ctx, peer, "/election", m, &a.reply)
			answers <- a
		}()
	}
	var agreed []cluster.Address
	for range to {
		a := <-answers
		if a.err != nil {
			slog.Debug("no answer", "master", a.from, "error", a.err)
			continue
		}
		if a.OK {
			agreed = append(agreed, a.from)
		}
		n.mu.Lock()
		if s := n.state; a.Term > s.Term {
			s.Term, s.VotedFor = a.Term, ""
			if err := n.save(s); err != nil {
				slog.Error("cannot keep the term", "error", err)
			}
			n.leader, n.deadline = "", n.soon()
		}
		n.mu.Unlock()
	}
	return agreed
}

func (n *Node) others() []cluster.Address {
	var out []cluster.Address
	for _, p := range n.Peers {
		if p.HTTP() != n.Self.HTTP() {
			out = append(out, p)
		}
	}
	return out
}

// stand is one election with this master as the candidate.
func (n *Node) stand(ctx context.Context, asked bool) {
	n.mu.Lock()
	n.deadline = n.soon()
	term := n.state.Term + 1
	n.mu.Unlock()
	m := message{Kind: preVote, Term: term, From: n.Self, Transfer: asked}
	if !asked && !n.majority(1+len(n.ask(ctx, m, n.others()))) {
		return
	}
	n.mu.Lock()
	s := n.state
	if s.Term >= term || (!asked && n.current() != "") {
		n.mu.Unlock()
		return // somebody was faster
	}
	s.Term, s.VotedFor = term, n.Self
	err := n.save(s)
	n.leader = ""
	n.mu.Unlock()
	if err != nil {
		slog.Error("cannot stand for election", "error", err)
		return
	}
	m.Kind = vote
	votes := n.ask(ctx, m, n.others())
	n.mu.Lock()
	won := n.majority(1+len(votes)) && n.state.Term == term
	if won {
		slog.Info("elected", "term", term, "votes", 1+len(votes), "of", len(n.Peers))
		n.leader = n.Self
		for _, voter := range votes {
			n.acks[voter] = time.Now()
		}
	}
	n.mu.Unlock()
	if won {
		n.beatOnce(ctx)
	}
}

// beatOnce tells the others who leads, and steps down when a majority has not been heard of for a while.
func (n *Node) beatOnce(ctx context.Context) {
	n.mu.Lock()
	m := message{Kind: beat, Term: n.state.Term, From: n.Self, MaxID: n.state.MaxID}
	n.mu.Unlock()
	agreed := n.ask(ctx, m, n.others())
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, peer := range agreed {
		n.acks[peer] = time.Now()
	}
	live := 1
	for _, last := range n.acks {
		if time.Since(last) < n.Timeout {
			live++
		}
	}
	if n.leader == n.Self && !n.majority(live) {
		slog.Warn("a majority of the masters is gone, stepping down", "live", live, "of", len(n.Peers))
		n.leader, n.deadline = "", n.soon()
	}
}

// Resign hands the lead to another master, if there is one, so that a planned stop leaves no gap.
func (n *Node) Resign(ctx context.Context) {
	n.mu.Lock()
	leads, m := n.leader == n.Self, message{Kind: transfer, Term: n.state.Term, From: n.Self}
	n.mu.Unlock()
	if !leads {
		return
	}
	for _, peer := range n.others() {
		if len(n.ask(ctx, m, []cluster.Address{peer})) == 1 {
			for ctx.Err() == nil && n.IsLeader() { // this master's vote may be needed, so it stays until it was given
				time.Sleep(10 * time.Millisecond)
			}
			if n.IsLeader() {
				slog.Warn("nobody took over the lead", "asked", peer)
			} else {
				slog.Info("handed over the lead", "to", peer)
			}
			return
		}
	}
}
