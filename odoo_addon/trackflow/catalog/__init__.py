"""The API's records in Odoo: `trackflow_core.api.storage.Catalog` over one environment.

Records that people make are read and written through the ORM, in sets and with the rights of the
environment's user. Facts are found with these rights, too, and then read by single statements.
"""

# No models, whose methods of these names call super().
# pylint: disable=method-required-super

from contextlib import contextmanager

import psycopg2.errors
from odoo.exceptions import AccessError, UserError

from trackflow_core.api import storage
from trackflow_core.api.storage import Conflict
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import ClickEvent, Conversion, Deal, Lead

from .facts import Conversions, Deals, Events, Leads, Visitors, statistics
from .keys import Answers, Keys, Requests
from .messages import Messages
from .records import Campaigns, Endpoints, Links, Templates

__all__ = ["OdooCatalog"]

_KINDS = {
    storage.Campaign: Campaigns,
    storage.LinkTemplate: Templates,
    storage.WebhookEndpoint: Endpoints,
    storage.ApiKey: Keys,
    storage.Idempotency: Answers,
    storage.LoggedRequest: Requests,
    storage.WebhookMessage: Messages,
    storage.Visitor: Visitors,
    ClickEvent: Events,
    Conversion: Conversions,
    Lead: Leads,
    Deal: Deals,
}


class OdooCatalog:
    """The catalog of one environment; what its user may not do is a PermissionError."""

    def __init__(self, env):
        self.env = env(context={**env.context, "active_test": False})
        self._links = Links(self.env)

    def read(self, kind, ids, *, lock=False):
        with _in_words(self.env):
            return self._of(kind).read([key for key in ids if "\0" not in key], lock=lock)

    def page(self, kind, query):
        with _in_words(self.env):
            return self._of(kind).page(query)

    def create(self, records):
        if not records:
            return []
        with _in_words(self.env):
            created = self._of(type(records[0])).create(records)
            self.env.flush_all()
            return created

    def update(self, records):
        if not records:
            return []
        with _in_words(self.env):
            kept = self._of(type(records[0])).update(records)
            self.env.flush_all()
            return kept

    def delete(self, kind, ids):
        with _in_words(self.env):
            self._of(kind).delete(ids)
            self.env.flush_all()

    def stats(self, query):
        with _in_words(self.env):
            return statistics(self.env, query)

    def changed_links(self, cursor, limit):
        with _in_words(self.env):
            return self._links.changed(cursor, limit)

    def log(self, entries):
        self.env["trackflow.api.request.log"].sudo()._log(entries)

    def purge(self, kind, before):
        return self._of(kind).purge(before)

    def _of(self, kind):
        # Links remember what is read to be changed.
        return self._links if kind is storage.TrackedLink else _KINDS[kind](self.env)


@contextmanager
def _in_words(env):
    """Odoo's refusals as the API understands them."""
    try:
        yield
    except AccessError:
        raise PermissionError(
            env._("The user of this key may not do this in Odoo: give the user the rights.")
        ) from None
    except psycopg2.errors.UniqueViolation as error:
        raise Conflict(
            env._("There is such a record already: %s", error.diag.constraint_name or "")
        ) from None
    except UserError as error:
        raise InvalidEvent(str(error)) from None
