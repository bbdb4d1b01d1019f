"""`/trackflow/api/v1`: hands requests to the core's REST API; nothing is decided here."""

import logging
from datetime import datetime, timezone
from functools import lru_cache

import psycopg2
from odoo import SUPERUSER_ID, api, http
from odoo.http import request
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import config
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from trackflow_core.api.app import Api, ApiSettings
from trackflow_core.api.calls import Workspace
from trackflow_core.api.messages import Problem, Request
from trackflow_core.model import Context

from ..catalog import OdooCatalog
from ..engine import build_engine, plugin_hooks
from ..store import OdooStore
from ..store.outbox import OdooOutbox

_logger = logging.getLogger(__name__)
_BASE = "/trackflow/api/v1"
# One more than is read, so that too large a body is refused in words.
_MAX_BODY = 16 * 1024 * 1024


class ApiController(http.Controller):
    @http.route(
        [_BASE, f"{_BASE}/<path:path>"],
        type="http",
        auth="public",
        csrf=False,
        save_session=False,
        max_content_length=_MAX_BODY,
    )
    def answer_api(self, path="", **_params):
        """The answer of the REST API, written to its log after it was sent."""
        asked, host = _asked(), _Host(request.env)
        kept = _api(plugin_hooks(host.env), _settings(), request.env.cr.dbname)
        now = datetime.now(timezone.utc)
        try:
            answered = kept.handle(asked, host, now)
            host.env.flush_all()
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            # Odoo repeats the request in a new transaction.
            raise
        except Exception as error:
            request.env.cr.rollback()
            answered = kept.failed(asked, error, now)
        response = request.make_response(
            b"" if asked.method == "HEAD" else answered.response.body,
            [*answered.response.headers.items()],
            status=answered.response.status,
        )
        registry = request.env.registry
        response.call_on_close(lambda: _log(registry, answered.entry))
        return response


class _Host:
    """This database during one request."""

    def __init__(self, env):
        self.env = env(user=SUPERUSER_ID)

    def keyring(self):
        return OdooCatalog(self.env)

    def open(self, key):
        env = self.env["trackflow.api.key"]._owner_env(key.id)
        if env is None:
            raise Problem(401, "The user of this API key has left.", "Make a key for another user.")
        store = OdooStore(env)
        return Workspace(
            OdooCatalog(env),
            store,
            build_engine(env, store),
            lambda: env["trackflow.attribution.model"]._core_models(),
            OdooOutbox(env),
        )


def _asked():
    received = request.httprequest
    return Request(
        method=received.method,
        path=received.path.removeprefix(_BASE),
        query=received.query_string.decode("latin-1"),
        headers={name.lower(): value for name, value in received.headers.items()},
        body=received.get_data(),
        peer=received.remote_addr or "",
        base_url=received.host_url.rstrip("/"),
    )


def _settings():
    """From odoo.conf, since they are the machine's and not a database's."""
    proxies = config.get("trackflow_trusted_proxies") or ""
    return ApiSettings(
        limit_storage=config.get("trackflow_limit_storage") or "memory://",
        trusted_proxies=tuple(filter(None, map(str.strip, proxies.split(",")))),
    )


@lru_cache(maxsize=16)
def _api(hooks, settings, database):
    return Api(hooks, settings, Context(host="odoo", tenant=database))


def _log(registry, entry):
    """Keep the entry in a transaction of its own; the client has its answer already."""
    try:
        with registry.cursor() as cr:
            if cr.connection.get_transaction_status() == TRANSACTION_STATUS_IDLE:
                # Requests with the same key are counted one after the other, and none waits for
                # the disk: a power failure may cost the last half second of the log.
                cr.execute(
                    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
                    " SET LOCAL synchronous_commit = off"
                )
            OdooCatalog(api.Environment(cr, SUPERUSER_ID, {})).log([entry])
    except psycopg2.Error:
        _logger.exception("A request to the API could not be logged.")
