package main

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"
)

const (
	prSetNoNewPrivs     = 38
	prSetChildSubreaper = 36
	lastCapability      = 63
	capabilityVersion3  = 0x20080522 // capget(2)
)

// capabilities are what packaging tools use as root (linux/capability.h): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL,
// SETGID and SETUID. The embedded engine leaves the same ones.
var capabilities = []uint{0, 1, 3, 4, 5, 6, 7}

// restrict leaves this thread, and every program that it becomes, the few capabilities and no way to more.
func restrict() error {
	keep := uint64(0)
	for _, number := range capabilities {
		keep |= 1 << number
	}
	for number := uint(0); number <= lastCapability; number++ {
		if keep&(1<<number) != 0 {
			continue
		}
		err := prctl(syscall.PR_CAPBSET_DROP, uintptr(number))
		if err != nil && !errors.Is(err, syscall.EINVAL) { // the kernel knows fewer
			return fmt.Errorf("dropping capability %d: %w", number, err)
		}
	}
	if err := prctl(prSetNoNewPrivs, 1); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	header := struct {
		version uint32
		pid     int32
	}{capabilityVersion3, 0}
	had := [2]struct{ effective, permitted, inheritable uint32 }{}
	if err := capabilityCall(syscall.SYS_CAPGET, unsafe.Pointer(&header), unsafe.Pointer(&had)); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	for index := range had {
		had[index].permitted &= uint32(keep >> (32 * index))
		had[index].effective = had[index].permitted
		had[index].inheritable = 0
	}
	if err := capabilityCall(syscall.SYS_CAPSET, unsafe.Pointer(&header), unsafe.Pointer(&had)); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	return nil
}

func capabilityCall(number uintptr, header, data unsafe.Pointer) error {
	if _, _, errno := syscall.RawSyscall(number, uintptr(header), uintptr(data), 0); errno != 0 {
		return errno
	}
	return nil
}

func prctl(option, argument uintptr) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, option, argument, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
