"""Our addons installed, used and uninstalled: Odoo is as it was, and links lead on."""

from __future__ import annotations

import urllib.error
import urllib.request
from email.message import Message
from typing import IO, Any

from tests.environment import odoo_server
from tests.environment.odoo_databases import our_addons
from tests.environment.progress import say, step

_LINK = """
link = env["link.tracker"].create({"url": "https://shop.example/offer", "title": "Offer"})
env.cr.commit()
print("code", link.code)
"""
_UNINSTALL = """
env["ir.module.module"].search([("name", "=", "trackflow")]).button_immediate_uninstall()
env.cr.commit()
"""
_LEFT = """
SELECT 'table ' || table_name FROM information_schema.tables
 WHERE table_schema = current_schema AND table_name LIKE '%%trackflow%%'
 UNION ALL
SELECT 'column ' || table_name || '.' || column_name FROM information_schema.columns
 WHERE table_schema = current_schema AND column_name LIKE '%%trackflow%%'
 UNION ALL
SELECT 'index ' || indexname FROM pg_indexes WHERE indexname LIKE '%%trackflow%%'
 UNION ALL
SELECT 'function ' || proname FROM pg_proc WHERE proname LIKE '%%trackflow%%'
 UNION ALL
SELECT 'trigger of ' || tgrelid::regclass FROM pg_trigger WHERE tgname LIKE '%%trackflow%%'
 UNION ALL
SELECT 'record ' || module || '.' || name FROM ir_model_data WHERE module LIKE 'trackflow%%'
 UNION ALL
SELECT 'parameter ' || key FROM ir_config_parameter WHERE key LIKE 'trackflow%%'
"""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Do not follow: where it leads is what is asked."""


def _open(url: str) -> tuple[int, str]:
    """Status and destination of a short link, asked for as a browser would."""
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 Firefox/130.0"})  # noqa: S310
    try:
        with urllib.request.build_opener(_Stay).open(request) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("Location", "")


def check() -> tuple[list[str], str]:
    """What is wrong once everything is gone, a sentence each; and the closing line."""
    wrong = []
    with odoo_server.connected(durable=False) as databases:
        template = databases.template(our_addons())
        with databases.scratch(template) as database:
            with (
                step("Using and uninstalling TrackFlow"),
                odoo_server.serving(databases, database) as odoo,
            ):
                printed = odoo.shell(_LINK)
                line = next(line for line in printed.splitlines() if line.startswith("code "))
                code = line.removeprefix("code ")
                with_ours = _open(f"{odoo.url}/r/{code}")
            with odoo_server.serving(databases, database, options=["--max-cron-threads=0"]) as odoo:
                odoo.shell(_UNINSTALL)
            with odoo_server.serving(databases, database) as odoo:
                alone = _open(f"{odoo.url}/r/{code}")
                counted = odoo.sql(
                    "SELECT count FROM link_tracker_code c JOIN link_tracker l"
                    " ON l.id = c.link_id WHERE c.code = %s",
                    code,
                )
                left = [row[0] for row in odoo.sql(_LEFT)]
    if with_ours != (302, "https://shop.example/offer"):
        wrong.append(f"with TrackFlow a link answers {with_ours}")
    if alone != (301, "https://shop.example/offer"):
        wrong.append(f"without TrackFlow the link answers {alone}")
    if not counted or counted[0][0] < 1:
        wrong.append(f"without TrackFlow a click is not counted: {counted}")
    wrong += [f"uninstalling leaves the {thing}" for thing in left]
    for complaint in wrong:
        say(f"FAILED {complaint}")
    return wrong, f"{len(wrong)} complaints after uninstalling"
