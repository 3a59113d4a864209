//go:build !real

package kafka

import "testing"

// cluster is a place with a topic of so many partitions: an in-process Kafka.
// With the build tag real the same tests run against a real one.
func cluster(t testing.TB, partitions int32) *lab { return at(broker(t, partitions)) }
