"""`/trackflow/api/v1`: hands requests to the core's REST API; nothing is decided here."""

from datetime import datetime, timezone
from functools import lru_cache

from odoo import SUPERUSER_ID, http
from odoo.http import request
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import config

from trackflow_core.api.app import Api, ApiSettings
from trackflow_core.api.calls import Workspace
from trackflow_core.api.messages import Problem, Request
from trackflow_core.model import Context

from .. import proxies, request_log
from ..catalog import OdooCatalog
from ..engine import build_engine, plugin_hooks
from ..store import OdooStore
from ..store.outbox import OdooOutbox

_BASE = "/trackflow/api/v1"
# One more than is read, so that too large a body is refused in words.
_MAX_BODY = 16 * 1024 * 1024


class ApiController(http.Controller):
    @http.route(
        [_BASE, f"{_BASE}/<path:path>"],
        type="http",
        auth="none",
        readonly=False,
        csrf=False,
        save_session=False,
        max_content_length=_MAX_BODY,
    )
    def answer_api(self, path="", **_params):
        """The answer of the REST API, which its log has a moment later."""
        if not request.db:
            raise request.not_found()
        # Nobody, by now: every request works with the rights of its key's user.
        request.update_env(user=SUPERUSER_ID)
        asked, host = _asked(), Host(request.env)
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
        # Written later, and not when the response is closed: with a client that hung up, it never is.
        request_log.keep(request.env.cr.dbname, answered.entry)
        return request.make_response(
            b"" if asked.method == "HEAD" else answered.response.body,
            [*answered.response.headers.items()],
            status=answered.response.status,
        )


class Host:
    """This database during one request."""

    def __init__(self, env):
        self.env = env

    def keyring(self):
        return OdooCatalog(self.env)

    def open(self, key):
        env = self.env["trackflow.api.key"]._owner_env(key.id)
        if env is None:
            raise Problem(401, "The user of this API key has left.", "Make a key for another user.")
        store = OdooStore(env, alone=True)
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
    return ApiSettings(
        limit_storage=config.get("trackflow_limit_storage") or "memory://",
        trusted_proxies=proxies.trusted(),
    )


@lru_cache(maxsize=16)
def _api(hooks, settings, database):
    return Api(hooks, settings, Context(host="odoo", tenant=database))
