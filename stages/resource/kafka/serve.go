package kafka

import (
	"context"
	"fmt"
	"net"

	"millrace/engine/stage"
)

// ServeBroker runs the embedded broker and registry on the given addresses
// (host:port; port 0 is a free one) until the context ends, for `engine
// broker`: several processes can then use them by their addresses.
func (c *Config) ServeBroker(ctx context.Context, s stage.Settings, broker, registry string, ready func(broker, registry string)) error {
	for what, address := range map[string]string{"broker": broker, "registry": registry} {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return stage.Fatal(fmt.Errorf("%s address: want host:port, got %q", what, address))
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return stage.Fatal(fmt.Errorf("%s address: %q names no host; give the one that clients use, since they are told to come back to it", what, address))
		}
	}
	served := *c
	served.Brokers, served.Registry = embeddedName, embeddedName
	cluster, err := open(&served, s, broker, registry)
	if err != nil {
		return err
	}
	ready(cluster.broker.address, cluster.registryURL)
	<-ctx.Done()
	return cluster.Close()
}
