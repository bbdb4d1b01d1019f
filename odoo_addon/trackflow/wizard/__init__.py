from . import trackflow_sheet_import
