"""Webhooks of any system as TrackFlow leads and deals."""

from trackflow_webhook.connection import WebhookConnection, decode
from trackflow_webhook.connector import GenericWebhook
from trackflow_webhook.mapping import Preview, preview
from trackflow_webhook.options import WebhookOptions
from trackflow_webhook.signature import MAX_BODY_BYTES, TOLERANCE, new_secret, sign

__all__ = [
    "MAX_BODY_BYTES",
    "TOLERANCE",
    "GenericWebhook",
    "Preview",
    "WebhookConnection",
    "WebhookOptions",
    "decode",
    "new_secret",
    "preview",
    "sign",
]
