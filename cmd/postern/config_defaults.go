package main

import (
	"time"

	"github.com/seed75441868/postern/handlers"
)

// defaults returns a configuration that has everything but sources.
func defaults() *Config {
	const (
		day = handlers.Duration(24 * time.Hour)
		mib = handlers.Size(1 << 20)
		gib = handlers.Size(1 << 30)
	)
	return &Config{
		DataDir: "data",
		Ingress: Ingress{
			Listen:         ":8080",
			ClientIP:       "direct",
			MaxBody:        1 * mib,
			MaxConnections: 2000,
		},
		Ops: Ops{Listen: "127.0.0.1:8081"},
		NATS: NATS{
			Embedded:     Embedded{MaxStore: 10 * gib},
			Replicas:     1,
			DedupeWindow: handlers.Duration(10 * time.Minute),
			TrimAfter:    handlers.Duration(5 * time.Minute),
			Retention: Retention{
				Events:     Keep{Age: 30 * day},
				Restricted: Keep{Age: 30 * day},
				Raw:        Keep{Age: 90 * day},
				Ops:        Keep{Age: 90 * day},
			},
		},
		Journal: Journal{MaxBytes: 8 * gib, Reserve: 1 * gib},
		Log:     Log{Level: "info", Format: "json"},
	}
}
