package election

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"example.org/weed/internal/cluster"
)

type seat struct {
	*Node
	server *httptest.Server
	stop   context.CancelFunc
}

// address gives a listener's port as the internal port of a made-up server.
func address(l net.Listener, id int) cluster.Address {
	return cluster.NewAddress("127.0.0.1", id, l.Addr().(*net.TCPAddr).Port)
}

// start makes seats masters, of which only the first live ones run.
func start(t *testing.T, seats, live int) []*seat {
	t.Helper()
	var peers []cluster.Address
	servers := make([]*httptest.Server, seats)
	for i := range servers {
		servers[i] = httptest.NewUnstartedServer(nil)
		peers = append(peers, address(servers[i].Listener, i+1))
		t.Cleanup(servers[i].Close)
	}
	var out []*seat
	for i := range live {
		n, err := New(Config{Self: peers[i], Peers: peers, Dir: t.TempDir(), Heartbeat: 10 * time.Millisecond,
			Timeout: 150 * time.Millisecond, Client: cluster.NewClient(nil)})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("POST /election", n)
		servers[i].Config.Handler = mux
		servers[i].Start()
		ctx, stop := context.WithCancel(t.Context())
		go n.Run(ctx)
		out = append(out, &seat{n, servers[i], stop})
	}
	for i := live; i < seats; i++ {
		servers[i].Listener.Close()
	}
	return out
}

// agreed waits until all seats name the same leader and returns its index.
func agreed(t *testing.T, seats []*seat) int {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		leader := seats[0].Leader()
		same := leader != ""
		for _, s := range seats {
			same = same && s.Leader() == leader
		}
		for i, s := range seats {
			if same && s.Self == leader {
				return i
			}
		}
	}
	t.Fatal("no leader is agreed on")
	return 0
}

func TestSingleMaster(t *testing.T) {
	s := start(t, 1, 1)
	if agreed(t, s) != 0 || !s[0].IsLeader() {
		t.Error("a single master has to lead")
	}
}

func TestTwoOfThreeSeatsAgree(t *testing.T) { agreed(t, start(t, 3, 2)) }

func TestMinorityHasNoLeader(t *testing.T) {
	s := start(t, 3, 1)
	time.Sleep(500 * time.Millisecond)
	if leader := s[0].Leader(); leader != "" {
		t.Errorf("one of three elected %s", leader)
	}
}

func TestLeaderIsReplaced(t *testing.T) {
	s := start(t, 3, 3)
	old := agreed(t, s)
	if err := s[old].Taken(7); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	s[old].stop()
	s[old].server.Close()
	rest := append(append([]*seat{}, s[:old]...), s[old+1:]...)
	i := agreed(t, rest)
	if rest[i].MaxID() != 7 {
		t.Errorf("the new leader forgot a volume id: %d", rest[i].MaxID())
	}
}

func TestLeaderWithoutMajorityStepsDown(t *testing.T) {
	s := start(t, 3, 3)
	leader := agreed(t, s)
	for i, other := range s {
		if i != leader {
			other.stop()
			other.server.Close()
		}
	}
	for end := time.Now().Add(5 * time.Second); s[leader].Leader() != ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still leads alone")
		}
	}
}

func TestResignHandsOver(t *testing.T) {
	s := start(t, 3, 3)
	old := agreed(t, s)
	s[old].stop()
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s[old].Resign(ctx)
	if s[old].IsLeader() || ctx.Err() != nil {
		t.Error("nobody took over")
	}
}

func TestVoteSurvivesRestart(t *testing.T) {
	c := Config{Self: "a:1", Peers: []cluster.Address{"a:1", "b:1", "c:1"}, Dir: t.TempDir(), Timeout: time.Second}
	first, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := first.answer(message{Kind: vote, Term: 3, From: "b:1"}); err != nil || !r.OK {
		t.Fatal("the first candidate has to get the vote", r, err)
	}
	again, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := again.answer(message{Kind: vote, Term: 3, From: "c:1"}); err != nil || r.OK {
		t.Error("voted twice in one term", r, err)
	}
}
