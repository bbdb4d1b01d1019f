from . import (
    crm_lead,
    ir_http,
    link_tracker_click,
    mail_mail,
    trackflow_click_queue,
    trackflow_email_log,
    trackflow_takeover,
    utm_campaign,
)
