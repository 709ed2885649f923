"""A gRPC server for any store: containerd's content service and what its clients need beside it.

* ``server.py``: listening, starting, draining; ``limits.py``: what clients may use.
* ``content.py``: the content service; ``read.py``, ``write.py``, ``listing.py``: its streams.
* ``auxiliary.py``: the other services, one file each.
* ``errors.py``: errors of a store as status codes and containerd's texts.
* ``address.py``, ``sockets.py``, ``tls.py``, ``reaper.py``, ``grpcio.py``: the transport.
"""
