"""The line between TrackFlow and its host: what fails behind it never reaches a user's work."""

import logging
from contextlib import contextmanager

import psycopg2
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

_logger = logging.getLogger(__name__)


@contextmanager
def guard(env, operation, reference="", on_conflict=None, on_failure=None, host_retries=False):
    """Run a part of our own inside a host's operation.

    When it fails, its writes are undone, the failure is logged and counted in
    `trackflow.failure`, `on_failure` is told the error, and the host goes on. A conflict with a
    concurrent transaction is no failure: `on_conflict` is called then, to leave the work to a
    job. What could not be done later is raised where `host_retries` its own conflicts.
    """
    # The host's own pending writes are the host's to fail with.
    env.flush_all()
    savepoint = env.cr.savepoint(flush=False)
    try:
        yield
        env.flush_all()
    except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY as error:
        _undo(env, savepoint)
        _logger.info("%s of %s met a concurrent change: %s", operation, reference, error)
        if host_retries:
            raise
        if on_conflict is not None:
            on_conflict()
    except Exception as error:
        _undo(env, savepoint)
        _logger.exception("TrackFlow failed in %s of %s; Odoo goes on.", operation, reference)
        _count(env, operation, reference, error)
        if on_failure is not None:
            on_failure(error)
    else:
        savepoint.close(rollback=False)


def isolated(callback):
    """`callback`, made safe to run where no transaction is open and nobody would catch."""

    def run():
        try:
            callback()
        except Exception:
            _logger.exception("TrackFlow failed after a commit.")

    return run


def _undo(env, savepoint):
    savepoint.close(rollback=True)
    # Also what our part had not written yet; the host has nothing pending.
    env.transaction.clear()


def _count(env, operation, reference, error):
    """Count a failure without ever waiting for another transaction."""
    values = {
        "operation": operation,
        "cause": f"{type(error).__name__}: {error}".replace("\0", "")[:250],
        "reference": str(reference).replace("\0", "")[:250],
        "now": env.cr.now(),
    }
    known = SQL(
        """
        UPDATE trackflow_failure SET count = count + 1, reference = %(reference)s, last_at = %(now)s
         WHERE id = (SELECT id FROM trackflow_failure
                      WHERE operation = %(operation)s AND cause = %(cause)s
                        FOR UPDATE SKIP LOCKED)
        """,
        **values,
    )
    new = SQL(
        """
        INSERT INTO trackflow_failure (operation, cause, reference, count, last_at)
        VALUES (%(operation)s, %(cause)s, %(reference)s, 1, %(now)s) ON CONFLICT DO NOTHING
        """,
        **values,
    )
    try:
        with env.cr.savepoint(flush=False):
            env.cr.execute(known)
            if not env.cr.rowcount:
                env.cr.execute(new)
    except psycopg2.OperationalError:
        _logger.info("The failure is in the log only: its counter is busy.")
