{
    "name": "TrackFlow for Sales",
    "summary": "Credit marketing with what orders brought instead of what was expected",
    "version": "19.0.1.0.0",
    "category": "Marketing",
    "author": "TrackFlow",
    "license": "LGPL-3",
    "depends": ["trackflow", "sale_crm"],
    "post_init_hook": "post_init_hook",
    "uninstall_hook": "uninstall_hook",
    "auto_install": True,
}
