package circuit

import (
	"context"
	"errors"

	"millrace/engine/stage"
)

// classes says what each class of errors tells about the dependency. One that
// is neither recorded nor ignored counts as a success: the dependency answered.
type classes [stage.Stopped + 1]Result

func newClasses(record, ignore []string) classes {
	var c classes
	for class := range stage.Stopped + 1 {
		for _, name := range record {
			if name == class.String() {
				c[class] = Failure
			}
		}
		for _, name := range ignore {
			if name == class.String() {
				c[class] = Ignored
			}
		}
	}
	c[stage.Stopped] = Ignored
	return c
}

func (c *classes) judge(ctx context.Context, err error) Result {
	if err == nil {
		return Success
	}
	class := stage.ClassOf(err)
	if class != stage.BadEvent && errors.Is(ctx.Err(), context.Canceled) {
		return Ignored // clients have many words for being told to stop
	}
	return c[class]
}
