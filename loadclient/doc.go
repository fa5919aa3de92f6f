// Package loadclient finds out what a real-time server can do: it connects clients that broadcast to each other, sends
// at a fixed schedule whatever the server does (an open loop), measures the time until each sender sees its own message
// again, and searches the rate at which that time gets long. It shares nothing with the server but the codec.
package loadclient
