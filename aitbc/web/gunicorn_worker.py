"""gunicorn's gevent worker, except that whoever has connected when it stops is answered; the next connect is refused.

gunicorn closes the listener with connections in its queue, and those it has just accepted fail at the listener's name. The kernel resets
them, and a client that is reset cannot know whether its submit was stored; one that is refused goes to another node.
"""

from functools import partial
from typing import Any

from gevent.monkey import get_original
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from aitbc.web import slow


class Listener(StreamServer):  # type: ignore[misc]  # untyped
    """Accepts until its queue is empty, and closes at once then.

    Who connects in the microseconds between is reset: the kernel has no way to refuse the next and keep the last.
    """

    def close(self) -> None:
        """Stop accepting. What was accepted is handled."""
        if not self.closed:
            self.stop_accepting()
            listener, close_now = self.socket, get_original("os", "close")  # gevent's waits for another turn of the loop
            descriptor = listener.fileno()
            while accepted := self.do_read():
                self.do_handle(*accepted)
            close_now(descriptor)
            listener.detach()
        super().close()


class Worker(GeventWorker):  # type: ignore[misc]  # untyped
    """The class that gunicorn_conf names."""

    def server_class(self, socket: Any, *, spawn: Any, **_: Any) -> Listener:
        """Make the listener of a socket; gunicorn calls it as if it were a class of gevent.pywsgi's kind."""
        listener = Listener(socket, handle=partial(self.handle, _Named(socket)), spawn=spawn)
        if self.cfg.workers > 1:
            listener.max_accept = 1  # as gunicorn has it: the processes share the connections
        return listener

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Within the time that slow.py gives."""
        slow.hasty(lambda: super(Worker, self).handle_request(listener_name, req, sock, addr), req, sock)


class _Named:
    """A listener's name, which its connections ask for after it has closed too."""

    def __init__(self, socket: Any) -> None:
        self._name = socket.getsockname()

    def getsockname(self) -> Any:
        return self._name
