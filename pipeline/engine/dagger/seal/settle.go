package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

const (
	permissions       = 0o777
	atFdcwd           = -100
	atSymlinkNofollow = 0x100
)

// settle looks at what the program left: everything promised must be there, nothing but files, folders and links, no
// secret in any of them. All get the step's time and plain permission bits.
func settle(spec *Spec, secrets []Secret) error {
	missing := []string{}
	for _, path := range spec.Outputs {
		if _, err := os.Lstat(filepath.Join(Out, path)); err != nil {
			missing = append(missing, path)
		}
	}
	if len(missing) > 0 {
		return &Verdict{Problem: "missing", Paths: missing}
	}
	folders := []string{}
	err := filepath.WalkDir(Out, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			folders = append(folders, path)
			return plain(path, 0o500)
		}
		return settleOne(spec, secrets, path, entry.Type())
	})
	if err != nil {
		return err
	}
	for _, path := range folders {
		if err := setTime(path, spec.Epoch); err != nil {
			return err
		}
	}
	return nil
}

func settleOne(spec *Spec, secrets []Secret, path string, kind fs.FileMode) error {
	if kind != 0 && kind != fs.ModeSymlink {
		inside, _ := filepath.Rel(Out, path)
		return &Verdict{Problem: "special", Kind: describe(kind), Paths: []string{inside}}
	}
	if kind == 0 {
		if err := plain(path, 0o400); err != nil {
			return err
		}
		for _, secret := range secrets {
			leaked, err := secret.leaks(path)
			if err != nil {
				return err
			}
			if leaked {
				inside, _ := filepath.Rel(Out, path)
				return &Verdict{Problem: "leak", Secret: secret.Name, Paths: []string{inside}}
			}
		}
	}
	return setTime(path, spec.Epoch)
}

// plain takes set-id and sticky bits away, and gives the owner what it needs to use the tree.
func plain(path string, needed uint32) error {
	var status syscall.Stat_t
	if err := syscall.Lstat(path, &status); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	wanted := status.Mode&permissions | needed
	if status.Mode&0o7777 == wanted {
		return nil
	}
	return syscall.Chmod(path, wanted)
}

func setTime(path string, epoch int64) error {
	times := [2]syscall.Timespec{{Sec: epoch}, {Sec: epoch}}
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	folder := atFdcwd
	_, _, errno := syscall.Syscall6(
		syscall.SYS_UTIMENSAT, uintptr(folder), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(&times[0])), atSymlinkNofollow, 0, 0,
	)
	if errno != 0 {
		return &fs.PathError{Op: "utimensat", Path: path, Err: errno}
	}
	return nil
}

func describe(kind fs.FileMode) string {
	switch {
	case kind&fs.ModeNamedPipe != 0:
		return "named pipe"
	case kind&fs.ModeSocket != 0:
		return "socket"
	case kind&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// tidy empties a folder but for the caches that are mounted in it.
func tidy(folder string, caches []string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		within := func(cache string) bool { return strings.HasPrefix(cache, path+"/") }
		switch {
		case slices.Contains(caches, path):
		case slices.ContainsFunc(caches, within):
			err = tidy(path, caches)
		default:
			err = os.RemoveAll(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
