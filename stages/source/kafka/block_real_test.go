//go:build real

package kafka

import (
	"testing"
	"time"
)

func TestABlockOfAMinuteLosesNeitherMembershipNorMemory(t *testing.T) {
	t.Parallel()
	began := time.Now()
	blocked(t, cluster(t, 1), func() bool { return time.Since(began) > longBlock })
}

// longBlock is longer than any timeout of the group.
const longBlock = 60 * time.Second
