package pubsub

import (
	"testing"

	"millrace/engine/event"
	"millrace/engine/stagetest"
	"millrace/stages/internal/poison"
)

func TestTheCountOfReplaysTravelsBesideTheEventAndCannotBeForged(t *testing.T) {
	for _, codec := range []Codec{JSON, Raw} {
		through := func(e event.Event) (got event.Event) {
			t.Helper()
			msg, err := codec.Encode(&e)
			if err == nil {
				err = codec.Decode(msg, &got)
			}
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		honest, forged := stagetest.Events("paid")[0], stagetest.Events("paid")[0]
		poison.SetReplays(&honest, 2)
		forged.SetAttribute(poison.Replays, event.Int(4))
		forged.SetAttribute(poison.ReplayHeader, event.String("4"))
		if got := through(honest); got.Replays != 2 {
			t.Errorf("%s: replayed 2 times, read back are %d", codec, got.Replays)
		}
		if got := through(forged); got.Replays != 0 {
			t.Errorf("%s: never replayed, read back are %d", codec, got.Replays)
		}
	}
}
