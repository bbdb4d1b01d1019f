def post_init_hook(env):
    """Count the orders that were there before; deals change in the click job."""
    orders = env["sale.order"].search([("opportunity_id", "!=", False), ("state", "=", "sale")])
    orders.opportunity_id.with_context(active_test=False)._trackflow_count_orders()


def uninstall_hook(env):
    """Let won deals be worth what was expected of them again; they change in the click job."""
    env["crm.lead"].flush_model(["trackflow_won_revenue"])
    env.cr.execute(
        """
        UPDATE crm_lead SET trackflow_won_revenue = NULL, trackflow_stale = TRUE
         WHERE trackflow_won_revenue != 0
        """
    )
    env["crm.lead"].invalidate_model(["trackflow_won_revenue", "trackflow_stale"], flush=False)
