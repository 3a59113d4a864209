// Package stages is the catalogue: everything a pipeline file can name. A
// stage is added by one folder and one line here, and removed by deleting
// them.
package stages

import (
	"millrace/engine/stage"
	"millrace/stages/middleware/breaker"
	"millrace/stages/middleware/limiter"
	"millrace/stages/middleware/poisonqueue"
	"millrace/stages/middleware/retry"
	breakerresource "millrace/stages/resource/breaker"
	kafkaresource "millrace/stages/resource/kafka"
	redisresource "millrace/stages/resource/redis"
	sqlresource "millrace/stages/resource/sql"
	"millrace/stages/sink/drop"
	filesink "millrace/stages/sink/file"
	httpsink "millrace/stages/sink/http"
	kafkasink "millrace/stages/sink/kafka"
	sqlsink "millrace/stages/sink/sql"
	"millrace/stages/sink/stdout"
	watermillsink "millrace/stages/sink/watermill"
	filesource "millrace/stages/source/file"
	"millrace/stages/source/generator"
	httpsource "millrace/stages/source/http"
	kafkasource "millrace/stages/source/kafka"
	"millrace/stages/source/outbox"
	"millrace/stages/source/poison"
	"millrace/stages/source/stdin"
	watermillsource "millrace/stages/source/watermill"
	"millrace/stages/transform/enrich"
	"millrace/stages/transform/filter"
	"millrace/stages/transform/parse"
	"millrace/stages/transform/set"
)

// All lists the stages in flow order.
func All() []stage.Stage {
	return []stage.Stage{
		kafkaresource.Stage,
		sqlresource.Stage,
		redisresource.Stage,
		breakerresource.Stage,

		generator.Stage,
		httpsource.Stage,
		filesource.Stage,
		stdin.Stage,
		kafkasource.Stage,
		watermillsource.Stage,
		outbox.Stage,
		poison.Stage,

		limiter.Stage,
		breaker.Stage,
		retry.Stage,
		poisonqueue.Stage,

		enrich.Stage,
		parse.Stage,
		set.Stage,
		filter.Stage,

		kafkasink.Stage,
		sqlsink.Stage,
		httpsink.Stage,
		watermillsink.Stage,
		filesink.Stage,
		stdout.Stage,
		drop.Stage,
	}
}
