"""Requests as no client library makes them."""

import re
import socket


def opened(api):
    """A connection that says nothing yet."""
    return socket.create_connection((api.base_url.host, api.base_url.port), timeout=10)


def reply_to(connection, said):
    """What comes back: all of it, where it says how long it is; nothing where the connection has ended."""
    connection.sendall(said)
    reply = connection.recv(65536)
    length = re.search(rb"content-length: ([0-9]+)", reply, re.IGNORECASE)
    whole = reply.find(b"\r\n\r\n") + 4 + int(length[1]) if length else 0
    while reply and len(reply) < whole:
        reply += connection.recv(65536)
    return reply
