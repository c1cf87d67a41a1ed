package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const reapPause = 2 * time.Millisecond

// adopt makes this process the parent of every process below it whose own parent has ended.
func adopt() error {
	return prctl(prSetChildSubreaper, 1)
}

// endOthers kills everything that the program left running, and returns when nothing is left of it.
//
// Only descendants are looked for, and never by signalling "all processes": run by mistake outside of a container,
// that would end the machine.
func endOthers() {
	for {
		for _, pid := range childrenOf(os.Getpid()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.ECHILD) {
				return
			}
			if err != nil && !errors.Is(err, syscall.EINTR) || err == nil && pid == 0 {
				break
			}
		}
		time.Sleep(reapPause)
	}
}

// childrenOf returns the processes whose parent is parent, as proc(5) tells.
func childrenOf(parent int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	found := []int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// The name of a program, in parentheses, may hold spaces and parentheses itself.
		text := string(data)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			found = append(found, pid)
		}
	}
	return found
}
