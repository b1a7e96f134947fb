//! Scenario tests: the engine on real loopback sockets, without Node.
