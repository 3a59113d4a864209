//go:build !linux

package generator

import "time"

// alarm is Linux's alone: elsewhere the runtime's timers are waited for.
type alarm struct{}

func newAlarm() *alarm { return nil }

func (*alarm) sleep(time.Duration) bool { return false }

func (*alarm) close() {}
