"""Sans-I/O protocols: bytes in, events and bytes out. No sockets, no clocks, no loop."""
