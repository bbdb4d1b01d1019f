{
    "name": "TrackFlow for Websites",
    "summary": "Join the website's contact forms to their visitors' journeys",
    "version": "19.0.1.0.0",
    "category": "Marketing",
    "author": "TrackFlow",
    "license": "LGPL-3",
    "depends": ["trackflow", "website_crm"],
    "data": [
        "data/ir_model_fields_data.xml",
        "views/website_templates.xml",
        "views/res_config_settings_views.xml",
        "views/website_visitor_views.xml",
    ],
    "demo": ["demo/contactus.xml"],
    "assets": {
        "web.assets_frontend": ["trackflow_website/static/src/cookies_bar/consent.js"],
        "web.assets_tests": ["trackflow_website/static/tests/tours/**/*"],
    },
    "auto_install": True,
}
