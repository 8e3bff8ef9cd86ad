"""Requests as no client library makes them."""

import socket


def opened(api):
    """A connection that says nothing yet."""
    return socket.create_connection((api.base_url.host, api.base_url.port), timeout=10)


def reply_to(connection, said):
    """The beginning of what comes back."""
    connection.sendall(said)
    return connection.recv(65536)
