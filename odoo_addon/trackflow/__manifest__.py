{
    "name": "TrackFlow",
    "summary": "See which marketing earned each lead and each deal",
    "version": "19.0.1.0.0",
    "category": "Marketing",
    "author": "TrackFlow",
    "website": "https://github.com/trackflow/trackflow",
    "license": "LGPL-3",
    "depends": ["crm", "link_tracker"],
    "external_dependencies": {
        "python": ["trackflow-core", "trackflow-odoo", "trackflow-webhook"],
    },
    "data": [
        "security/trackflow_groups.xml",
        "security/ir.model.access.csv",
        "security/trackflow_rules.xml",
        "data/trackflow_attribution_model_data.xml",
        "data/ir_cron_data.xml",
        "views/redirect_templates.xml",
    ],
    "post_init_hook": "post_init_hook",
    "application": True,
}
