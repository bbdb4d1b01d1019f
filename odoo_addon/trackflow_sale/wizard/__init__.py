from . import trackflow_health
