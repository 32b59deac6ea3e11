// Package gateway is where a request of an agent meets the providers: it picks
// the profile, takes the request down the chain, translates between wires, and
// tells the caller the truth about how it ended. What it decides it asks of
// internal/route; what a provider does it asks of internal/upstream.
//
// A request goes this way, and each step is a file:
//
//	gateway     takes it in on one generation of the settings, and chooses the profile
//	exchange    takes it down the chain: performs what the walk of internal/route decides
//	attempt     asks one provider
//	answer      makes the caller's answer of the provider's: whole or streamed, on either wire
//	relay       reads a stream to its end, and commits its first content
//	sink        writes to the caller: headers, pings, content, errors
//	explain     notes what happened; record, row, ledger and metrics tell it
//
// Beside the way stand those who change it, in the order in which a request meets them:
//
//	autoroute   which profile, by what the request looks like
//	rates       requests a minute of a key
//	guards      loops and counts of tool calls
//	order       who first: windows, drift, affinity
//	healing     whether an attempt may leave, and what its end says of the provider
//	window      the context budget of the provider about to be asked
//	money       what an attempt may cost, and what it did
//	mend        printed calls, filters, reasoning
//	rescue      a stream that breaks; hold keeps its beginning back
//	drift       whether answers get worse
//	capture     what is kept of a request; replay sends it again
package gateway
