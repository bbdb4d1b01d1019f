from . import (
    trackflow_sheet_import,
    trackflow_visitor_merge,
)
