// Package connect gives the stores of bad events what they need of a pipeline's
// resources. It is apart from package poison, which knows no resource, for the
// two stages that open stores: the poison queue and the poison source.
package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/internal/poison"
	"millrace/stages/resource/kafka"
	"millrace/stages/resource/sql"
)

// Services are the resources that a place needs. A Kafka cluster is looked up
// when it is first used: a store that is no topic needs it only to read Avro.
func Services(p poison.Place, s stage.Settings) (poison.Services, error) {
	out := poison.Services{State: s.State, Clock: s.Clock, Log: s.Log}
	if p.Cluster != "" {
		out.Kafka = kafkaServices(stage.Ref(p.Cluster), s)
	}
	if p.Table == "" {
		return out, nil
	}
	db, err := stage.Use[*sql.Database](s, stage.Ref(p.Database))
	if err != nil {
		return out, stage.Fatal(err)
	}
	out.SQL = &poison.SQL{DB: db.SQLite, Classify: sql.Classify}
	if db.Postgres != nil {
		out.SQL.DB, out.SQL.Postgres = stdlib.OpenDBFromPool(db.Postgres), true
	}
	return out, nil
}

func kafkaServices(ref stage.Ref, s stage.Settings) *poison.Kafka {
	use := func() (*kafka.Cluster, error) {
		c, err := stage.Use[*kafka.Cluster](s, ref)
		if err != nil {
			return nil, stage.Fatal(err)
		}
		return c, nil
	}
	return &poison.Kafka{
		NewClient: func(opts ...kgo.Opt) (*kgo.Client, error) {
			c, err := use()
			if err != nil {
				return nil, err
			}
			return c.NewClient(opts...)
		},
		Ensure: func(ctx context.Context, topic string, retention time.Duration) error {
			c, err := use()
			if err != nil {
				return err
			}
			return c.EnsureTopic(ctx, kafka.Topic{Name: topic, Retention: retention})
		},
		Schema: func(ctx context.Context, id int) (string, error) {
			c, err := use()
			if err != nil {
				return "", err
			}
			schema, err := c.Registry().Schema(ctx, id)
			if errors.Is(err, kafka.ErrUnknownSchema) {
				err = stage.Bad(fmt.Errorf("schema id %d: %w", id, err))
			}
			return schema, err
		},
		Classify: kafka.Classify,
	}
}
