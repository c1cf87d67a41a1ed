package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

const (
	hostName   = "pipeline"
	namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNS
)

// devices are what every program may use of /dev.
var devices = []string{"full", "null", "random", "tty", "urandom", "zero"}

// masked and readOnly are what runc hides and protects in /proc of an ordinary container (its defaults), which an
// engine leaves open in one with all capabilities.
var (
	masked = []string{
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	}
	readOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func isolate(spec *Spec) error {
	steps := []struct {
		doing string
		do    func() error
	}{
		{"setting the host name", func() error { return syscall.Sethostname([]byte(hostName)) }},
		{"bringing the loopback device up", loopbackUp},
		{"keeping mounts to this step", func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		{"making /dev", privateDevices},
		{"protecting /proc", protectProc},
		{"hiding what is of the host", hideHost},
		{"making /run", func() error { return privateRun(spec) }},
		{"making the image read-only", freeze},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.doing, err)
		}
	}
	return nil
}

func loopbackUp() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	var request struct { // struct ifreq, netdevice(7)
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	request.flags = uint16(net.FlagUp) | syscall.IFF_RUNNING
	_, _, errno := syscall.Syscall(
		syscall.SYS_IOCTL, uintptr(socket), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)),
	)
	if errno != 0 {
		return errno
	}
	return nil
}

// privateDevices lays a read-only /dev with nothing but harmless devices over the one with all of the host's.
func privateDevices() error {
	staging := "/tmp/.seal-dev"
	if err := os.Mkdir(staging, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", staging, "tmpfs", syscall.MS_NOSUID|syscall.MS_NOEXEC, "mode=0755"); err != nil {
		return err
	}
	for _, name := range devices {
		place := staging + "/" + name
		if err := os.WriteFile(place, nil, 0o666); err != nil {
			return err
		}
		if err := syscall.Mount("/dev/"+name, place, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := os.Mkdir(staging+"/"+name, 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Chmod(staging+"/shm", 0o1777); err != nil {
		return err
	}
	if err := syscall.Mount("devpts", staging+"/pts", "devpts", syscall.MS_NOSUID|syscall.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return err
	}
	links := map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	}
	for name, target := range links {
		if err := os.Symlink(target, staging+"/"+name); err != nil {
			return err
		}
	}
	if err := syscall.Mount(staging, "/dev", "", syscall.MS_MOVE, ""); err != nil {
		return err
	}
	if err := os.Remove(staging); err != nil {
		return err
	}
	return remountReadOnly("/dev")
}

// privateRun lays an empty /run in memory over that of the image, in which the engine has put this program and its
// specification. Secrets, and the caches below it, stay where they are.
func privateRun(spec *Spec) error {
	staging := "/tmp/.seal-run"
	if err := os.Mkdir(staging, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", staging, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	inside := func(path string) string { return staging + strings.TrimPrefix(path, RunFolder) }
	if len(spec.Secrets) > 0 {
		if err := os.Mkdir(inside(SecretsFolder), 0o700); err != nil {
			return err
		}
	}
	kept := []string{}
	for _, name := range spec.Secrets {
		path := SecretsFolder + "/" + name
		if err := os.WriteFile(inside(path), nil, 0o400); err != nil {
			return err
		}
		kept = append(kept, path)
	}
	for _, path := range spec.Caches {
		if strings.HasPrefix(path, RunFolder+"/") {
			if err := os.MkdirAll(inside(path), 0o755); err != nil {
				return err
			}
			kept = append(kept, path)
		}
	}
	for _, path := range kept {
		if err := syscall.Mount(path, inside(path), "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := syscall.Mount(staging, RunFolder, "", syscall.MS_MOVE, ""); err != nil {
		return err
	}
	return os.Remove(staging)
}

func protectProc() error {
	for _, path := range readOnly {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := syscall.Mount(path, path, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return err
		}
		if err := remountReadOnly(path); err != nil {
			return err
		}
	}
	for _, path := range masked {
		status, err := os.Stat(path)
		if err != nil {
			continue
		}
		if status.IsDir() {
			err = syscall.Mount("tmpfs", path, "tmpfs", syscall.MS_RDONLY, "mode=0555")
		} else {
			err = syscall.Mount("/dev/null", path, "", syscall.MS_BIND, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hideHost takes away what an engine mounts into every container: the machine's devices and settings as /sys, and the
// files by which names are resolved on a network that this step does not have.
func hideHost() error {
	for _, path := range []string{"/sys", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"} {
		for {
			err := syscall.Unmount(path, syscall.MNT_DETACH)
			if err == nil {
				continue
			}
			if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
				return fmt.Errorf("%s: %w", path, err)
			}
			break
		}
	}
	return nil
}

func freeze() error {
	if err := syscall.Mount(Out, Out, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	return remountReadOnly("/")
}

// remountReadOnly keeps the flags that a mount has already: a mount that was locked loses none of them.
func remountReadOnly(path string) error {
	var status syscall.Statfs_t
	if err := syscall.Statfs(path, &status); err != nil {
		return err
	}
	kept := uintptr(status.Flags) & (syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC)
	return syscall.Mount("", path, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY|kept, "")
}
