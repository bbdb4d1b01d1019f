"""The API's request log, written in a transaction of its own after the answer was sent."""

import logging

import psycopg2
from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry

_logger = logging.getLogger(__name__)


def keep(database, entry):
    """Log a request and count it on its key; the client has its answer already."""
    try:
        with Registry(database).cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env["trackflow.api.request.log"]._log([entry])
    except psycopg2.Error:
        _logger.exception("A request to the API could not be logged.")
