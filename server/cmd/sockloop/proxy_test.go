package main

import (
	"strings"
	"testing"
)

// Whoever trusts a proxy by mistake is told so.
func TestProxyFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--proxy-protocol"}, "without TrustedProxies: say which"},
		{[]string{"--trusted-proxies", "10.0.0.0/33"}, "want an address or a network"},
		{[]string{"--trusted-proxies", "proxy.example"}, "want an address or a network"},
		{[]string{"--trusted-proxies", "10.0.0.1,::ffff:10.0.0.0/104"}, "write IPv4 as in"},
	} {
		err := run(tt.args, nil, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: got %v, want one line with %q", tt.args, err, tt.want)
		}
	}
}
