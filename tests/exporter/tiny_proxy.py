"""An HTTP proxy as small as it can be: CONNECT, and forwarding of absolute URLs, both to loopback."""

import socket
import threading
from typing import Self


class TinyProxy:
    """Whatever host is asked for, loopback is reached, on that port. ``asked`` holds request lines."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuse = False
        self._over = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        socket.create_connection(self._listener.getsockname()).close()
        self._threads[0].join()
        self._listener.close()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._sockets.append(client)
            if self._over:
                return
            self._start(self._serve, client)

    def _start(self, what: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        line = head.split(b"\r\n")[0].decode()
        self.asked.append(line)
        if self.refuse:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        method, target, _ = line.split(" ")
        port = int(target.removeprefix("http://").split("/")[0].rpartition(":")[2])
        upstream = socket.create_connection(("127.0.0.1", port))
        self._sockets.append(upstream)
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = "/" + target.removeprefix("http://").partition("/")[2]
            upstream.sendall(head.replace(target.encode(), path.encode(), 1))
        self._start(self._pump, client, upstream)
        self._pump(upstream, client)

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while content := source.recv(65536):
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return  # one side has gone; closing is the fixture's
