"""The API's request log, written for the requests of a moment together."""

import logging
import threading

import psycopg2
from odoo import SUPERUSER_ID, api, modules
from odoo.modules.registry import Registry

_logger = logging.getLogger(__name__)
# How long an entry waits for others.
_SECONDS = 0.5

_lock = threading.Lock()
# Entries that wait, by their database.
_waiting = {}


def keep(database, entry):
    """Log a request and count it on its key soon, in a transaction that no request waits for."""
    if modules.module.current_test:
        # A thread of its own would write beside the test's transaction.
        _write(database, [entry])
        return
    with _lock:
        entries = _waiting.setdefault(database, [])
        entries.append(entry)
        if len(entries) > 1:
            return
    soon = threading.Timer(_SECONDS, _write_waiting, (database,))
    # A process that ends writes before it does, though the threads of its requests may be cut off.
    soon.daemon = False
    soon.start()


def _write_waiting(database):
    with _lock:
        entries = _waiting.pop(database)
    _write(database, entries)


def _write(database, entries):
    try:
        with Registry(database).cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env["trackflow.api.request.log"]._log(entries)
    except psycopg2.Error:
        _logger.exception("%s requests to the API are not in its log.", len(entries))
