package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A process that runs only some routes of a pipeline has a state directory of
// its own below the pipeline's: only/a+b. Where that name would be too long, a
// file in it says which routes they are.
const (
	partsName     = "only"
	partSeparator = "+"
	routesName    = "routes"
)

// RoutesOf lists the routes of the process that has a part's state directory.
func RoutesOf(part string) []string {
	names := filepath.Base(part)
	if told, err := os.ReadFile(filepath.Join(part, routesName)); err == nil {
		names = strings.TrimSpace(string(told))
	}
	return strings.Split(names, partSeparator)
}

// TellRoutes writes down which routes a part's process runs, unless the name of
// the directory says so.
func (d *Dir) TellRoutes(routes []string) error {
	slices.Sort(routes)
	if slices.Equal(RoutesOf(d.Path), routes) {
		return nil
	}
	name := filepath.Join(d.Path, routesName)
	if err := os.WriteFile(name, []byte(strings.Join(routes, partSeparator)+"\n"), 0o644); err != nil {
		return fmt.Errorf("state directory %s cannot be written: %w", d.Path, err)
	}
	return nil
}

// Others lists the state directories, of the whole pipeline and of parts of it,
// in which the state of some of these routes may be. own is not one of them.
func Others(whole, own string, routes []string) []string {
	var others []string
	if _, err := os.Stat(filepath.Join(whole, dbName)); err == nil && !same(whole, own) {
		others = append(others, whole)
	}
	parts, _ := os.ReadDir(filepath.Join(whole, partsName)) // there may be none
	for _, part := range parts {
		dir := filepath.Join(whole, partsName, part.Name())
		if _, err := os.Stat(filepath.Join(dir, dbName)); err != nil || same(dir, own) {
			continue
		}
		theirs := RoutesOf(dir)
		if slices.ContainsFunc(routes, func(r string) bool { return slices.Contains(theirs, r) }) {
			others = append(others, dir)
		}
	}
	return others
}

func same(a, b string) bool { return filepath.Clean(a) == filepath.Clean(b) }

// Free reports an error when a process has taken a directory. Who takes one of
// several for itself takes its own first and asks then: of two at the same
// time at least one is refused.
func Free(path string) error {
	name := filepath.Join(path, lockName)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state directory %s cannot be looked at: %w", path, err)
	}
	defer func() { _ = f.Close() }()                                  // gives the lock back, too
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) // its owner has it alone
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(name)
		return fmt.Errorf("state directory %s is in use by process %s", path, strings.TrimSpace(string(holder)))
	}
	return err
}
