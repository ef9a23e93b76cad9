"""Whether a server takes connections, found out within seconds: clients of MLflow, the hub and Ray would try for minutes."""

import socket


def check_connection(host: str, port: int, seconds: float) -> None:
    """Connect to a server and disconnect at once.

    Args:
        host: name or address of the server.
        port: number of the port.
        seconds: how long to wait for the connection.

    Raises:
        OSError: the server does not take the connection in time, or its name cannot be resolved.
    """
    socket.create_connection((host, port), timeout=seconds).close()
