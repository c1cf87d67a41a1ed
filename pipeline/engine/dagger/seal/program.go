package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// become turns this process into the program. It only returns when that fails; the reason goes to descriptor 3.
func become(spec *Spec, argv []string) error {
	report := os.NewFile(3, "report")
	syscall.CloseOnExec(3)
	runtime.LockOSThread() // capabilities are a thread's, and the thread that calls execve keeps its own
	err := prepare(spec)
	if err == nil {
		err = launch(argv, environment(spec))
	}
	var code exitCode
	if errors.As(err, &code) {
		os.Exit(int(code))
	}
	_ = json.NewEncoder(report).Encode(&Verdict{Problem: "seal", Text: err.Error()})
	os.Exit(1)
	return nil
}

func prepare(spec *Spec) error {
	if spec.Isolate {
		if err := isolate(spec); err != nil {
			return err
		}
	}
	if err := restrict(); err != nil {
		return err
	}
	for _, path := range []string{"/tmp", "/var/tmp"} {
		if err := syscall.Chmod(path, 0o1777); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	syscall.Umask(0o022)
	if err := os.Chdir(Work); err != nil {
		return err
	}
	return nil
}

// environment returns exactly what the step states, and those of the named variables that the engine has set to say
// how the network is reached.
func environment(spec *Spec) []string {
	values := map[string]string{}
	for _, name := range spec.Pass {
		if value, found := os.LookupEnv(name); found {
			values[name] = value
		}
	}
	for name, value := range spec.Env {
		values[name] = value
	}
	list := make([]string, 0, len(values))
	for name, value := range values {
		list = append(list, name+"="+value)
	}
	sort.Strings(list)
	return list
}

type exitCode int

func (code exitCode) Error() string { return "exit code " + strconv.Itoa(int(code)) }

// launch executes the program, found in the PATH of its own environment, and fails as a shell does: 127 for a program
// that is not there, 126 for one that cannot be executed.
func launch(argv, env []string) error {
	os.Clearenv()
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(argv[0])
	if err == nil {
		err = syscall.Exec(path, argv, env)
	}
	fmt.Printf("%s: %v\n", argv[0], err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return exitCode(127)
	}
	return exitCode(126)
}
