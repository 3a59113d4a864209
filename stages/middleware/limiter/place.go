package limiter

import "millrace/engine/stage"

// Place says that batches wait here, and what is dropped instead.
func (c *Config) Place() stage.Placement {
	p := stage.Placement{Role: stage.Limits}
	if c.OnLimit == onLimitReject || c.OnLimit == onLimitShed {
		p.Drops = stage.Setting{Key: "on_limit", Value: c.OnLimit}
	}
	return p
}
