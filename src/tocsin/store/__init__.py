"""What we remember. All SQL lives here, values always bound, one code path for every engine.

``Store`` hands out transactions; the modules beside it (``targets``, ``checks``, ``states`` …) are functions
that take the connection first and say what they need in one statement or batch. A caller composes them:

    with store.write() as conn:
        targets.insert(conn, row)

Everything is synchronous: callers on an event loop go through ``lib.threads``.
"""
