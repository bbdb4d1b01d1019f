"""`make demo`: Odoo with TrackFlow and its demo data, in the foreground until Ctrl-C."""

from __future__ import annotations

import argparse
import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tests.environment import cache, odoo_server
from tests.environment.failure import SetupError, run_command
from tests.environment.odoo_databases import OdooDatabases, our_addons
from tests.environment.progress import say, step

DATABASE = "trackflow_demo"
_MODULES = ("website_crm",)
_PREPARE = """
# Else they would run one by one in the first minutes, and numbers contradict each other until then.
for job in ("take_over", "process_clicks", "compare_models"):
    env.ref(f"trackflow.ir_cron_{job}").method_direct_trigger()
# Otherwise the first page that a visitor opens waits for them.
env["ir.qweb"]._pregenerate_assets_bundles()
env.cr.commit()
"""
# Where the address of the demo stands.
_ADDRESSES = (
    ("link_tracker", "url"),
    ("link_tracker_click", "trackflow_destination"),
    ("trackflow_event", "page_url"),
    ("trackflow_session", "entry_page"),
    ("trackflow_session", "exit_page"),
)


def _replace(databases: OdooDatabases, template: str, users: TextIO) -> None:
    """Copy `template`, unless another run uses the database or is copying it just now."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Waits for a run that is copying, not for one that is serving.
        fcntl.flock(users, fcntl.LOCK_SH)
        if databases.note(DATABASE) == template:
            return
        raise SetupError(
            "another demo is running from other sources: stop it, then run this again"
        ) from None
    with step("Copying the prepared demo database"):
        databases.copy(template, DATABASE)
        databases.set_note(DATABASE, template)


@contextmanager
def _database(databases: OdooDatabases) -> Iterator[str]:
    """The demo's database, kept for as long as the block runs.

    What somebody did in it stays until the sources change: then it is made again.
    """
    template = databases.template([*_MODULES, *our_addons()], demo=True, afterwards=_PREPARE)
    path = cache.root() / "locks" / f"demo-{databases.server.label}.lock"
    with path.open("w") as users:
        if databases.note(DATABASE) != template:
            _replace(databases, template, users)
        fcntl.flock(users, fcntl.LOCK_SH)
        yield DATABASE


def _move_to(databases: OdooDatabases, database: str, address: str) -> None:
    """Give short links, mails and the demo's destinations the address that is served."""
    ((former,),) = databases.server.run(
        "SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'", database=database
    )
    for table, column in _ADDRESSES:
        databases.server.run(
            f"UPDATE {table} SET {column} = replace({column}, %s, %s)"  # noqa: S608 - constants
            f" WHERE starts_with({column}, %s)",
            former,
            address,
            former,
            database=database,
        )
    databases.server.run(
        "UPDATE ir_config_parameter SET value = %s WHERE key = 'web.base.url'",
        address,
        database=database,
    )


def serve(port: int) -> int:
    odoo_server.require_free(port)
    with odoo_server.connected(durable=True) as databases, _database(databases) as database:
        _move_to(databases, database, f"http://{odoo_server.HOST}:{port}")
        # Preparing may have taken minutes.
        odoo_server.require_free(port)
        with odoo_server.serving(
            databases, database, port=port, log=cache.root() / "logs" / "demo.log"
        ) as odoo:
            say(f"Sign in as admin / admin; Ctrl-C stops it; its log is {odoo.log}")
            say(f"TrackFlow demo ready: {odoo.url}/odoo")
            try:
                code = odoo.process.wait()
            except KeyboardInterrupt:
                say("\nStopping ...")
                return 0
            raise SetupError(f"Odoo ended by itself with code {code} (log: {odoo.log})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8069)
    arguments = parser.parse_args()
    return serve(arguments.port)


if __name__ == "__main__":
    sys.exit(run_command(main))
