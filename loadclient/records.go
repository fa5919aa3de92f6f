package loadclient

import "github.com/sockloop/sockloop/loadclient/results"

// What is measured is recorded in the types of package results.
type (
	Trial      = results.Trial
	Saturation = results.Saturation
	Latency    = results.Latency
	Queues     = results.Queues
	Verify     = results.Verify
	Ceiling    = results.Ceiling
	Shape      = results.Shape
	Usage      = results.Usage
	Noise      = results.Noise
	Verdict    = results.Verdict
	Phase      = results.Phase
	Protocol   = results.Protocol
	ReadPolicy = results.ReadPolicy
)

const (
	OK            = results.OK
	Overloaded    = results.Overloaded
	ClientLimited = results.ClientLimited
	Noisy         = results.Noisy
	TargetFailed  = results.TargetFailed

	PhaseProbe   = results.PhaseProbe
	PhaseBracket = results.PhaseBracket
	PhaseConfirm = results.PhaseConfirm
	PhaseCurve   = results.PhaseCurve
	PhaseRamp    = results.PhaseRamp

	SockJS       = results.SockJS
	WebSocket    = results.WebSocket
	XHRStreaming = results.XHRStreaming
	EventSource  = results.EventSource
	SocketIO     = results.SocketIO
	SocketIO08   = results.SocketIO08

	Single    = results.Single
	Coalesced = results.Coalesced
	Arrays    = results.Arrays

	VerifyAll    = results.VerifyAll
	VerifySample = results.VerifySample

	Prompt  = results.Prompt
	Relaxed = results.Relaxed
)

var LevelsOf2011, QuickLevels = results.LevelsOf2011, results.QuickLevels
