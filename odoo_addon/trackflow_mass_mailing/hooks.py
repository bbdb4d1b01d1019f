UNSIGNED_UP_TO = "trackflow_mass_mailing.unsigned_up_to"


def post_init_hook(env):
    """Remember which mails were sent before their links were signed: those links stay good."""
    env.cr.execute("SELECT COALESCE(max(id), 0) FROM mailing_trace")
    env["ir.config_parameter"].set_param(UNSIGNED_UP_TO, env.cr.fetchone()[0])
    env["trackflow.takeover"]._begin(["mailings"])
