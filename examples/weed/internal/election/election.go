// Package election lets a majority of the masters agree on a leader: Raft's terms, votes and heartbeats (Ongaro and
// Ousterhout, 2014, section 5.2, with the pre-vote and check-quorum of Ongaro's thesis, section 9.6), without a log.
//
// Nothing but the term, the vote and the highest volume id is kept, which is all that the masters have to agree on here:
// the volume servers report the rest.
package election

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.org/weed/internal/cluster"
)

// Config says who takes part. Peers includes Self.
type Config struct {
	Self      cluster.Address
	Peers     []cluster.Address
	Dir       string        // keeps state.json
	Heartbeat time.Duration // from one message of the leader to the next
	Timeout   time.Duration // without word from the leader (or, for a leader, from a majority)
	Client    *cluster.Client
}

type kind string

const (
	preVote  kind = "pre-vote"
	vote     kind = "vote"
	beat     kind = "beat"
	transfer kind = "transfer"
)

type message struct {
	Kind     kind
	Term     uint64
	From     cluster.Address
	Transfer bool // the old leader asked for this election
	MaxID    uint32
}

type reply struct {
	Term uint64
	OK   bool
}

// state survives a restart: a master that votes twice in one term could make two leaders.
type state struct {
	Term     uint64
	VotedFor cluster.Address
	MaxID    uint32
}

// Node is one master's part in the election.
type Node struct {
	Config
	mu       sync.Mutex
	state    state
	leader   cluster.Address
	heard    time.Time // when the leader last wrote
	deadline time.Time // when to stand for election
	acks     map[cluster.Address]time.Time
}

// New reads what an earlier process left in Dir.
func New(c Config) (*Node, error) {
	n := &Node{Config: c, acks: map[cluster.Address]time.Time{}}
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(n.file())
	if err == nil {
		err = json.Unmarshal(text, &n.state)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if n.deadline = n.soon(); len(c.Peers) == 1 {
		n.deadline = time.Now()
	}
	return n, nil
}

func (n *Node) file() string { return filepath.Join(n.Dir, "state.json") }

// soon is a random moment, so that candidates seldom meet.
func (n *Node) soon() time.Time {
	span := min(n.Timeout, 2*time.Second)
	return time.Now().Add(span/2 + rand.N(span/2))
}

func (n *Node) save(s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(n.Dir, "state-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), n.file()); err == nil {
		n.state = s
	}
	return err
}

func (n *Node) majority(count int) bool { return count > len(n.Peers)/2 }

// Leader returns the leader that this master believes in, or "" when there is none.
func (n *Node) Leader() cluster.Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current()
}

func (n *Node) current() cluster.Address {
	if n.leader == n.Self || time.Since(n.heard) < n.Timeout {
		return n.leader
	}
	return ""
}

// IsLeader says whether this master leads.
func (n *Node) IsLeader() bool { return n.Leader() == n.Self }

// Term is the number of the latest election that this master heard of.
func (n *Node) Term() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.Term
}

// MaxID returns the highest volume id that the masters know to be taken.
func (n *Node) MaxID() uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.MaxID
}

// Taken records a volume id; the next heartbeats carry it to the other masters.
func (n *Node) Taken(id uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id <= n.state.MaxID {
		return nil
	}
	s := n.state
	s.MaxID = id
	return n.save(s)
}

// ServeHTTP answers the messages of the other masters.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m message
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := n.answer(m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	cluster.WriteJSON(w, http.StatusOK, answer)
	if m.Kind == transfer && answer.OK {
		go n.stand(context.WithoutCancel(r.Context()), true)
	}
}

func (n *Node) answer(m message) (reply, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// Whoever hears a leader disturbs no election, so a master that was cut off cannot depose a good leader.
	content := n.current() != "" && n.current() != m.From && !m.Transfer
	s := n.state
	switch m.Kind {
	case preVote:
		return reply{s.Term, m.Term > s.Term && !content}, nil
	case transfer:
		return reply{s.Term, m.Term == s.Term && m.From == n.leader}, nil
	case vote:
		if content || m.Term < s.Term || (m.Term == s.Term && s.VotedFor != "" && s.VotedFor != m.From) {
			return reply{s.Term, false}, nil
		}
		s.Term, s.VotedFor = m.Term, m.From
		n.leader, n.deadline = "", n.soon()
	case beat:
		if m.Term < s.Term {
			return reply{s.Term, false}, nil
		}
		if m.Term > s.Term {
			s.Term, s.VotedFor = m.Term, ""
		}
		if n.leader != m.From {
			slog.Info("leader", "address", m.From, "term", m.Term)
		}
		s.MaxID = max(s.MaxID, m.MaxID)
		n.leader, n.heard = m.From, time.Now()
		n.deadline = n.heard.Add(n.Timeout + rand.N(n.Timeout/4+1))
	}
	if s != n.state {
		if err := n.save(s); err != nil {
			return reply{}, err
		}
	}
	return reply{s.Term, true}, nil
}
