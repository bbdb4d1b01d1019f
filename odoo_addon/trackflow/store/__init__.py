"""TrackFlow's facts in Odoo's own tables: `trackflow_core.ports.Store` over one environment.

Sets of rows are read and written by single statements, because the ORM would need several for
each record. A lead or deal of this database is called "crm.lead/<id>"; those of other CRMs keep
the reference that came with them in `trackflow_lead_ref` and `trackflow_deal_ref`.
"""

from .clicks import ClickStore
from .deals import DealStore
from .leads import LeadStore
from .values import local_ref
from .visitors import VisitorStore

__all__ = ["OdooStore", "local_ref"]


class OdooStore(ClickStore, VisitorStore, LeadStore, DealStore):
    """The store of one environment; see `BaseStore` for its options."""
