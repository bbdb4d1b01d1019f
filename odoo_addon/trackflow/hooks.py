from .store import functions


def post_init_hook(env):
    """Give what existed before the addon the facts that it relies on."""
    env.cr.execute(
        """
        UPDATE link_tracker_click
           SET trackflow_occurred_at = create_date
         WHERE trackflow_occurred_at IS NULL
        """
    )
    env.cr.execute(
        """
        UPDATE crm_lead
           SET trackflow_lead_date = create_date,
               trackflow_deal_date = CASE WHEN type = 'opportunity'
                                          THEN COALESCE(date_conversion, create_date) END,
               trackflow_closed_date = CASE WHEN won_status IN ('won', 'lost')
                                            THEN COALESCE(date_closed, write_date) END,
               -- The click job gives the deals that were here before their first credits.
               trackflow_stale = (type = 'opportunity')
         WHERE trackflow_lead_version IS NULL AND trackflow_deal_version IS NULL
        """
    )
    env.invalidate_all()
    env["trackflow.takeover"]._begin()


def uninstall_hook(env):
    """Leave the links, and clicks that Odoo would have kept and counted."""
    env.cr.execute("DELETE FROM link_tracker_click WHERE trackflow_counts IS FALSE")
    env.cr.execute(
        """
        UPDATE link_tracker link
           SET count = (SELECT count(*) FROM link_tracker_click c WHERE c.link_id = link.id)
        """
    )
    env["trackflow.front"]._unwatch()
    functions.drop(env.cr)
    env["ir.config_parameter"].search([("key", "=like", "trackflow%")]).unlink()
