"""Bytes to events and events to bytes, for each protocol that a connection can speak.

In: what a socket received. Out: requests, messages and what to send. Nothing here knows a socket,
a loop, a clock or a route; every module can be fed whole, byte by byte, or cut anywhere, and gives
the same events.
"""
