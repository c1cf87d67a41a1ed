// Command seal runs the program of one step in a container, and keeps the promises that a container engine does not
// make by itself: exactly the environment that the step states, no network but the loopback device, the host name
// `pipeline`, few capabilities, a time limit for everything that was started, no secret in what is printed or left,
// and outputs with one modification time and plain permission bits.
//
// It is started as `seal PROGRAM ARGUMENT...` and reads the rest from SpecPath. What the program prints, on either
// stream, goes to standard output. When the step fails, one line of JSON on standard error says how (a Verdict), and
// the exit code is 1. `seal` itself needs nothing of the image that it runs in.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// SpecPath is where the engine mounts the specification.
	SpecPath = "/run/pipeline/step.json"
	// Out is where the program leaves its result.
	Out = "/out"
	// Work is where the program starts.
	Work = "/work"
	// RunFolder is empty and in memory in a step without network, except for secrets.
	RunFolder = "/run"
	// SecretsFolder holds one file for each secret.
	SecretsFolder = RunFolder + "/secrets"
	// FirstFailure is the first exit code that says that a program could not run or was killed, and is never a
	// result (POSIX, XCU 2.8.2).
	FirstFailure = 126
	// stageTwo is the name of the process that becomes the program: its argument 0.
	stageTwo = "seal-inside"
)

// Spec is what the engine says of a step besides its command line. Caches are the directories that outlive the step;
// with one below Work, the engine keeps what lies in Work. Run varies with each run of a step that must never be taken
// from a cache.
type Spec struct {
	Env            map[string]string `json:"env"`
	Pass           []string          `json:"pass"`
	Isolate        bool              `json:"isolate"`
	Secrets        []string          `json:"secrets"`
	Caches         []string          `json:"caches"`
	Outputs        []string          `json:"outputs"`
	Epoch          int64             `json:"epoch"`
	Timeout        float64           `json:"timeout"`
	ExitCodeIsData bool              `json:"exit_code_is_data"`
	Run            string            `json:"run"`
}

// Verdict says why a step failed.
type Verdict struct {
	Problem string   `json:"problem"`
	Code    int      `json:"code,omitempty"`
	Paths   []string `json:"paths,omitempty"`
	Kind    string   `json:"kind,omitempty"`
	Secret  string   `json:"secret,omitempty"`
	Text    string   `json:"text,omitempty"`
}

func (verdict *Verdict) Error() string {
	return verdict.Problem
}

func broken(doing string, err error) *Verdict {
	return &Verdict{Problem: "seal", Text: fmt.Sprintf("%s: %v", doing, err)}
}

func main() {
	spec, err := readSpec()
	if err == nil && os.Args[0] == stageTwo {
		err = become(spec, os.Args[1:])
	} else if err == nil {
		err = run(spec, os.Args[1:])
	}
	if err == nil {
		os.Exit(0)
	}
	var verdict *Verdict
	if !errors.As(err, &verdict) {
		verdict = broken("running the step", err)
	}
	line, _ := json.Marshal(verdict)
	fmt.Fprintf(os.Stderr, "%s\n", line)
	os.Exit(1)
}

func readSpec() (*Spec, error) {
	data, err := os.ReadFile(SpecPath)
	if err != nil {
		return nil, broken("reading the specification", err)
	}
	spec := &Spec{}
	if err := json.Unmarshal(data, spec); err != nil {
		return nil, broken("reading the specification", err)
	}
	return spec, nil
}

// run starts the program, waits for its end and for that of all that it started, and settles its result.
func run(spec *Spec, argv []string) error {
	if len(argv) == 0 {
		return broken("running the step", errors.New("no program is named"))
	}
	secrets, err := readSecrets(spec.Secrets)
	if err != nil {
		return err
	}
	if verdict := exposed(secrets, argv, spec.Env); verdict != nil {
		return verdict
	}
	code, err := supervise(spec, argv, secrets)
	if err != nil {
		return err
	}
	if spec.ExitCodeIsData && code < FirstFailure {
		text := fmt.Appendf(nil, "%d\n", code)
		if err := os.WriteFile(Out+"/exit-code", text, 0o644); err != nil {
			return broken("writing the exit code", err)
		}
	} else if code != 0 {
		return &Verdict{Problem: "exit", Code: code}
	}
	if err := tidy(Work, spec.Caches); err != nil {
		return broken("emptying "+Work, err)
	}
	return settle(spec, secrets)
}

// supervise returns the exit code of the program, 128 and the signal's number when a signal ended it.
func supervise(spec *Spec, argv []string, secrets []Secret) (int, error) {
	if err := adopt(); err != nil {
		return 0, broken("adopting the processes that the program leaves", err)
	}
	output, err := newOutput(os.Stdout, secrets)
	if err != nil {
		return 0, broken("making a pipe", err)
	}
	report, reporter, err := os.Pipe()
	if err != nil {
		return 0, broken("making a pipe", err)
	}
	command := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        append([]string{stageTwo}, argv...),
		Env:         os.Environ(),
		Stdout:      output.writer,
		Stderr:      output.writer,
		ExtraFiles:  []*os.File{reporter},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if spec.Isolate {
		command.SysProcAttr.Cloneflags = namespaces
	}
	if err := command.Start(); err != nil {
		return 0, broken("making namespaces, for which the engine must allow insecure root capabilities", err)
	}
	_ = reporter.Close()
	_ = output.writer.Close()
	timedOut := make(chan struct{})
	limit := time.AfterFunc(time.Duration(spec.Timeout*float64(time.Second)), func() {
		close(timedOut)
		_ = command.Process.Kill()
	})
	failed := readReport(report)
	_ = command.Wait()
	expired := !limit.Stop()
	endOthers()
	output.finish()
	if failed != nil {
		return 0, failed
	}
	if expired {
		<-timedOut
		return 0, &Verdict{Problem: "timeout"}
	}
	status := command.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// readReport returns what the second stage says of a failure before it became the program; nothing if it did.
func readReport(report *os.File) error {
	verdict := &Verdict{}
	if err := json.NewDecoder(report).Decode(verdict); err != nil {
		return nil
	}
	return verdict
}
