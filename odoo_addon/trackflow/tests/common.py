"""What the addon's tests share."""

from datetime import timezone

from odoo import fields

from trackflow_core.tracking.identity import issue_token, new_visitor_id

from odoo.addons.trackflow.engine import build_engine
from odoo.addons.trackflow.keys import visitor_keys
from odoo.addons.trackflow.store import OdooStore

BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)
