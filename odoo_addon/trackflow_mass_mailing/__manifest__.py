{
    "name": "TrackFlow for Mailings",
    "summary": "Join the clicks in mailings to their recipients' journeys",
    "version": "19.0.1.0.0",
    "category": "Marketing",
    "author": "TrackFlow",
    "license": "LGPL-3",
    "depends": ["trackflow", "mass_mailing"],
    "data": [
        "security/ir.model.access.csv",
        "security/trackflow_rules.xml",
        "views/trackflow_email_log_views.xml",
        "views/utm_campaign_views.xml",
    ],
    "post_init_hook": "post_init_hook",
    "auto_install": True,
}
