"""From sources to the published book: execute, gate, build, each a step of its own."""
