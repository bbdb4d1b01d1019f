from . import trackflow_visitor_merge
